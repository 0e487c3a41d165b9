package main

import (
	"encoding/json"
	"errors"
	"flag"
	"time"

	"github.com/hibiken/asynq"
)

// scheduler registers an entry a line, and answers each with its id. It runs until a signal or the input's end,
// and tells of each task it makes.
func scheduler(arguments []string) error {
	flags := flag.NewFlagSet("scheduler", flag.ExitOnError)
	redis := redisFlags(flags)
	heartbeat := flags.Duration("heartbeat", time.Second, "between two reports of its entries")
	zone := flags.String("zone", "UTC", "of the specs")
	flags.Parse(arguments)
	location, err := time.LoadLocation(*zone)
	if err != nil {
		return err
	}
	scheduler := asynq.NewScheduler(redis(), &asynq.SchedulerOpts{
		HeartbeatInterval: *heartbeat,
		Location:          location,
		PostEnqueueFunc: func(info *asynq.TaskInfo, err error) {
			if err != nil {
				say(failure{err.Error()})
				return
			}
			say(map[string]any{"event": "enqueued", "id": info.ID, "queue": info.Queue, "type": info.Type})
		},
	})
	if err := scheduler.Start(); err != nil {
		return err
	}
	defer scheduler.Shutdown()
	input := make(chan error, 1)
	go func() {
		input <- answerLines(func(line []byte) (any, error) {
			var entry newTask
			if err := json.Unmarshal(line, &entry); err != nil {
				return nil, err
			}
			if entry.Spec == "" {
				return nil, errors.New("a spec is missing")
			}
			id, err := scheduler.Register(entry.Spec, entry.task(), entry.options()...)
			return map[string]any{"entry": id}, err
		})
	}()
	signalled := make(chan struct{})
	go func() {
		untilSignal()
		close(signalled)
	}()
	select {
	case err := <-input:
		return err
	case <-signalled:
		return nil
	}
}
