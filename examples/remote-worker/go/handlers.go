package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// job is an attempt of a task, as the server leases it.
type job struct {
	Token string
	Task  struct {
		Kind    string
		Payload struct{ Text string }
	}
	ctx context.Context // Ends when the handler is to end; its cause says why.
	say chan<- string   // Takes the progress, which is shown with the task.
}

var handlers = map[string]func(*job) (any, error){"greet": greet, "nap": nap}

func greet(j *job) (any, error) {
	var to struct{ Name string }
	if err := json.Unmarshal([]byte(j.Task.Payload.Text), &to); err != nil {
		return nil, err
	}
	if to.Name == "" {
		return nil, errors.New("the payload has no name")
	}
	return object{"text": "hello " + to.Name}, nil
}

func nap(j *job) (any, error) {
	var how struct{ Seconds int }
	if err := json.Unmarshal([]byte(j.Task.Payload.Text), &how); err != nil {
		return nil, err
	}
	for second := range how.Seconds {
		j.say <- fmt.Sprint(second, " s")
		select {
		case <-time.After(time.Second):
		case <-j.ctx.Done():
			return nil, context.Cause(j.ctx)
		}
	}
	return nil, nil
}

// end runs the handler, and says what becomes of the attempt.
func (j *job) end() object {
	handle, known := handlers[j.Task.Kind]
	if !known {
		return object{"outcome": "retry", "error": "no handler for " + j.Task.Kind}
	}
	result, err := handle(j)
	switch asked := fmt.Sprint(context.Cause(j.ctx)); {
	case err == nil:
		return object{"outcome": "complete", "result": result}
	case asked == "cancel":
		return object{"outcome": "archive", "error": "cancelled"}
	case asked == "hold" || asked == "release":
		return object{"outcome": asked}
	}
	return object{"outcome": "retry", "error": err.Error()}
}
