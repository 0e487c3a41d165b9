package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/hibiken/asynq"
)

// event is a line of the server: ready, start, end, aggregate, stopped.
type event struct {
	Event    string            `json:"event"`
	ID       string            `json:"id,omitempty"`
	Queue    string            `json:"queue,omitempty"`
	Type     string            `json:"type,omitempty"`
	Payload  string            `json:"payload,omitempty"`
	Headers  map[string]string `json:"headers,omitempty"`
	Retried  int               `json:"retried"`
	MaxRetry int               `json:"max_retry"`
	Deadline int64             `json:"deadline,omitempty"` // Unix seconds.
	Error    string            `json:"error,omitempty"`    // Of an end that was none in success.
	Group    string            `json:"group,omitempty"`
	Count    int               `json:"count,omitempty"` // Tasks of a group that became one.
}

// behave does what a payload says: steps with semicolons between them. Words it doesn't know do nothing.
//
//	ok | fail [TEXT] | panic | skip_retry | revoke | sleep MS | await FILE | result TEXT
//
// await ends when there is such a file.
func behave(ctx context.Context, task *asynq.Task) error {
	for _, step := range strings.Split(string(task.Payload()), ";") {
		word, rest, _ := strings.Cut(strings.TrimSpace(step), " ")
		switch word {
		case "fail":
			return errors.New(strings.TrimSpace("failed " + rest))
		case "panic":
			panic("as the task asked for")
		case "skip_retry":
			return fmt.Errorf("no use: %w", asynq.SkipRetry)
		case "revoke":
			return fmt.Errorf("no need: %w", asynq.RevokeTask)
		case "result":
			if _, err := task.ResultWriter().Write([]byte(rest)); err != nil {
				return err
			}
		case "sleep":
			ms, err := strconv.Atoi(rest)
			if err != nil {
				return err
			}
			select {
			case <-time.After(time.Duration(ms) * time.Millisecond):
			case <-ctx.Done():
				return ctx.Err()
			}
		case "await":
			for {
				if _, err := os.Stat(rest); err == nil {
					break
				}
				select {
				case <-time.After(5 * time.Millisecond):
				case <-ctx.Done():
					return ctx.Err()
				}
			}
		}
	}
	return nil
}

func handle(ctx context.Context, task *asynq.Task) (err error) {
	said := event{Event: "start", Type: task.Type(), Payload: string(task.Payload()), Headers: task.Headers()}
	said.ID, _ = asynq.GetTaskID(ctx)
	said.Queue, _ = asynq.GetQueueName(ctx)
	said.Retried, _ = asynq.GetRetryCount(ctx)
	said.MaxRetry, _ = asynq.GetMaxRetry(ctx)
	if deadline, ok := ctx.Deadline(); ok {
		said.Deadline = deadline.Unix()
	}
	say(said)
	said.Event = "end"
	said.Error = "panic"
	defer func() { say(said) }()
	err = behave(ctx, task)
	said.Error = ""
	if err != nil {
		said.Error = err.Error()
	}
	return err
}

// aggregate makes one task of type "aggregated" of a group's, and takes so long; the payloads stand in lines.
func aggregate(group string, tasks []*asynq.Task, length time.Duration) *asynq.Task {
	var payloads []string
	for _, task := range tasks {
		payloads = append(payloads, string(task.Payload()))
	}
	say(event{Event: "aggregate", Group: group, Count: len(tasks)})
	time.Sleep(length)
	return asynq.NewTask("aggregated", []byte(strings.Join(payloads, "\n")))
}

// weights reads "default=2,low=1"; without a number it is 1.
func weights(text string) (map[string]int, error) {
	queues := map[string]int{}
	for _, pair := range strings.Split(text, ",") {
		name, number, given := strings.Cut(pair, "=")
		queues[name] = 1
		if given {
			weight, err := strconv.Atoi(number)
			if err != nil {
				return nil, err
			}
			queues[name] = weight
		}
	}
	return queues, nil
}

// server runs tasks until a signal, and prints what it does.
func server(arguments []string) error {
	flags := flag.NewFlagSet("server", flag.ExitOnError)
	redis := redisFlags(flags)
	queues := flags.String("queues", "default=1", "NAME=WEIGHT,...")
	strict := flags.Bool("strict", false, "weights are strict priorities")
	concurrency := flags.Int("concurrency", 2, "tasks at a time")
	groups := flags.Bool("groups", false, "aggregate groups")
	groupSize := flags.Int("group-max-size", 0, "tasks of a group that are enough")
	grace := flags.Duration("group-grace", time.Second, "a group waits so long for one more task; 1s at least")
	groupDelay := flags.Duration("group-max-delay", 0, "a group's first task waits so long at most")
	aggregation := flags.Duration("aggregation", 0, "to make one task of a group takes so long")
	retryDelay := flags.Duration("retry-delay", time.Second, "from a failure to the next attempt")
	delayedCheck := flags.Duration("delayed-check", 200*time.Millisecond, "between looks for tasks that are due")
	taskCheck := flags.Duration("task-check", 100*time.Millisecond, "between looks at empty queues")
	janitor := flags.Duration("janitor", time.Second, "between looks for what has been kept long enough")
	shutdown := flags.Duration("shutdown", 8*time.Second, "given to running tasks at the end")
	flags.Parse(arguments)
	weights, err := weights(*queues)
	if err != nil {
		return err
	}
	config := asynq.Config{
		Concurrency:              *concurrency,
		Queues:                   weights,
		StrictPriority:           *strict,
		RetryDelayFunc:           func(int, error, *asynq.Task) time.Duration { return *retryDelay },
		TaskCheckInterval:        *taskCheck,
		DelayedTaskCheckInterval: *delayedCheck,
		JanitorInterval:          *janitor,
		ShutdownTimeout:          *shutdown,
		GroupGracePeriod:         *grace,
		GroupMaxDelay:            *groupDelay,
		GroupMaxSize:             *groupSize,
	}
	if *groups {
		config.GroupAggregator = asynq.GroupAggregatorFunc(func(group string, tasks []*asynq.Task) *asynq.Task {
			return aggregate(group, tasks, *aggregation)
		})
	}
	server := asynq.NewServer(redis(), config)
	if err := server.Start(asynq.HandlerFunc(handle)); err != nil {
		return err
	}
	say(event{Event: "ready"})
	untilSignal()
	server.Shutdown()
	say(event{Event: "stopped"})
	return nil
}
