package main

import (
	"encoding/json"
	"flag"
	"time"

	"github.com/hibiken/asynq"
)

// newTask is a line for the client, and with a spec for the scheduler. What is absent is not given to Asynq;
// an absent payload is nil.
type newTask struct {
	Spec          string            `json:"spec"`
	Type          string            `json:"type"`
	Payload       *string           `json:"payload"`
	PayloadBase64 []byte            `json:"payload_base64"`
	Queue         string            `json:"queue"`
	ID            string            `json:"id"`
	MaxRetry      *int              `json:"max_retry"`
	DelayMS       *int64            `json:"delay_ms"`
	UniqueMS      *int64            `json:"unique_ms"`
	Group         string            `json:"group"`
	TimeoutS      *int64            `json:"timeout_s"`
	Deadline      *int64            `json:"deadline"` // Unix seconds.
	RetentionS    *int64            `json:"retention_s"`
	Headers       map[string]string `json:"headers"`
}

func (t newTask) task() *asynq.Task {
	payload := t.PayloadBase64
	if t.Payload != nil {
		payload = []byte(*t.Payload)
	}
	return asynq.NewTaskWithHeaders(t.Type, payload, t.Headers)
}

func (t newTask) options() []asynq.Option {
	var options []asynq.Option
	length := func(count *int64, unit time.Duration, option func(time.Duration) asynq.Option) {
		if count != nil {
			options = append(options, option(time.Duration(*count)*unit))
		}
	}
	text := func(value string, option func(string) asynq.Option) {
		if value != "" {
			options = append(options, option(value))
		}
	}
	text(t.Queue, asynq.Queue)
	text(t.ID, asynq.TaskID)
	text(t.Group, asynq.Group)
	length(t.DelayMS, time.Millisecond, asynq.ProcessIn)
	length(t.UniqueMS, time.Millisecond, asynq.Unique)
	length(t.TimeoutS, time.Second, asynq.Timeout)
	length(t.RetentionS, time.Second, asynq.Retention)
	if t.MaxRetry != nil {
		options = append(options, asynq.MaxRetry(*t.MaxRetry))
	}
	if t.Deadline != nil {
		options = append(options, asynq.Deadline(time.Unix(*t.Deadline, 0)))
	}
	return options
}

// client enqueues a task a line, and answers each with its id, queue and state.
func client(arguments []string) error {
	flags := flag.NewFlagSet("client", flag.ExitOnError)
	redis := redisFlags(flags)
	flags.Parse(arguments)
	client := asynq.NewClient(redis())
	defer client.Close()
	return answerLines(func(line []byte) (any, error) {
		var new newTask
		if err := json.Unmarshal(line, &new); err != nil {
			return nil, err
		}
		info, err := client.Enqueue(new.task(), new.options()...)
		if err != nil {
			return nil, err
		}
		return map[string]any{"id": info.ID, "queue": info.Queue, "state": info.State.String()}, nil
	})
}
