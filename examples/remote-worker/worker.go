// A worker for Tidemill over HTTP: a handler for each kind, a goroutine for each task. README.md says how to run it.
package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"sync"
	"syscall"
	"time"
)

const slots, beatEvery, lease, margin = 4, 8 * time.Second, 25 * time.Second, 2 * time.Second

type object = map[string]any

type job struct {
	Token string
	Task  struct {
		Kind    string
		Payload struct{ Text string }
	}
	ctx      context.Context // Ends when the handler is to end; its cause says why.
	ask      context.CancelCauseFunc
	progress string    // Guarded by mutex.
	until    time.Time // Guarded by mutex.
}

var (
	server   = cmp.Or(os.Getenv("TIDEMILL_SERVER"), "http://127.0.0.1:8470")
	client   = http.Client{Timeout: 10 * time.Second}
	host, _  = os.Hostname()
	worker   = object{"id": fmt.Sprintf("go-%s-%d", host, os.Getpid()), "slots": slots}
	handlers = map[string]func(*job) (any, error){"greet": greet, "nap": nap}
	// What becomes of an attempt that was told to stop; any other has failed.
	ends = map[string]object{"cancel": {"outcome": "archive", "error": "cancelled"},
		"hold": {"outcome": "hold"}, "release": {"outcome": "release"}}
	refused = errors.New("refused")
	mutex   sync.Mutex
	running = map[string]*job{} // By token. Guarded by mutex.
	freed   = make(chan struct{}, 1)
)

func greet(j *job) (any, error) {
	var to struct{ Name *string }
	if err := json.Unmarshal([]byte(j.Task.Payload.Text), &to); err != nil || to.Name == nil {
		return nil, cmp.Or(err, errors.New("the payload has no name"))
	}
	return object{"text": "hello " + *to.Name}, nil
}

func nap(j *job) (any, error) {
	var how struct{ Seconds int }
	if err := json.Unmarshal([]byte(j.Task.Payload.Text), &how); err != nil {
		return nil, err
	}
	for second := range how.Seconds {
		mutex.Lock()
		j.progress = fmt.Sprintf("%d s", second)
		mutex.Unlock()
		select {
		case <-time.After(time.Second):
		case <-j.ctx.Done():
			return nil, context.Cause(j.ctx)
		}
	}
	return nil, nil
}

// call fails with refused when there is no use in trying again.
func call(verb string, body, answer any) error {
	sent, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("%s: %w: %w", verb, refused, err)
	}
	request, err := http.NewRequest("POST", server+"/api/v1/"+verb, bytes.NewReader(sent))
	if err != nil {
		return fmt.Errorf("%s: %w: %w", verb, refused, err)
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Authorization", "Bearer "+os.Getenv("TIDEMILL_TOKEN"))
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	got, err := io.ReadAll(response.Body)
	switch {
	case err != nil:
		return err
	case response.StatusCode >= 500:
		return fmt.Errorf("%s: %s", verb, got)
	case response.StatusCode >= 400:
		return fmt.Errorf("%s: %w: %s", verb, refused, got)
	}
	return json.Unmarshal(got, answer)
}

// patiently backs off while the server is away and the answer is wanted.
func patiently(verb string, body, answer any, wanted func() bool) error {
	for pause := time.Second / 4; ; pause = min(2*pause, 8*time.Second) {
		err := call(verb, body, answer)
		if err == nil || errors.Is(err, refused) || !wanted() {
			return err
		}
		log.Printf("%v; again in %v", err, pause)
		time.Sleep(pause)
	}
}

func (j *job) asked() string { return fmt.Sprint(context.Cause(j.ctx)) }

func (j *job) run() {
	end := object{"outcome": "retry", "error": "no handler for " + j.Task.Kind}
	if handle, known := handlers[j.Task.Kind]; known {
		if result, err := handle(j); err == nil {
			end = object{"outcome": "complete", "result": result}
		} else if end = maps.Clone(ends[j.asked()]); end == nil {
			end = object{"outcome": "retry", "error": err.Error()}
		}
	}
	end["token"] = j.Token
	wanted := func() bool { return j.asked() != "lease_lost" }
	if err := patiently("report", object{"items": []object{end}}, &object{}, wanted); err != nil {
		log.Print(err)
	}
	mutex.Lock()
	delete(running, j.Token)
	mutex.Unlock()
	select {
	case freed <- struct{}{}:
	default:
	}
}

func jobs() []*job {
	mutex.Lock()
	defer mutex.Unlock()
	return slices.Collect(maps.Values(running))
}

// beat renews all leases, and answers what is asked of the worker itself.
func beat() (string, error) {
	all, items, sent := jobs(), []object{}, time.Now()
	mutex.Lock()
	for _, j := range all {
		items = append(items, object{"token": j.Token, "progress": j.progress})
	}
	mutex.Unlock()
	var answer struct {
		Items  []struct{ Signal, Code string }
		Worker struct{ Signal string }
	}
	err := call("renew", object{"worker": worker, "items": items}, &answer)
	mutex.Lock()
	defer mutex.Unlock()
	for i, j := range all {
		if err != nil && time.Now().After(j.until) {
			j.ask(errors.New("lease_lost"))
		} else if err == nil {
			j.until = sent.Add(lease - margin)
			if asked := cmp.Or(answer.Items[i].Code, answer.Items[i].Signal); asked != "none" {
				j.ask(errors.New(asked))
			}
		}
	}
	return answer.Worker.Signal, err
}

func claim(ctx context.Context) error {
	for ctx.Err() == nil {
		room := slots - len(jobs())
		if room == 0 {
			select {
			case <-freed:
			case <-ctx.Done():
			}
			continue
		}
		var answer struct{ Leases []*job }
		wanted := func() bool { return ctx.Err() == nil }
		// Not ended by ctx: the leases of an answer that nobody reads would be lost with it.
		err := patiently("claim", object{"worker": worker, "limit": room, "wait": "3s"}, &answer, wanted)
		if err != nil && wanted() {
			return err
		}
		for _, j := range answer.Leases {
			j.ctx, j.ask = context.WithCancelCause(context.Background())
			mutex.Lock()
			j.until = time.Now().Add(lease - margin)
			running[j.Token] = j
			mutex.Unlock()
			go j.run()
		}
	}
	return nil
}

func drain(within time.Duration) {
	for end := time.After(within); len(jobs()) > 0; {
		select {
		case <-freed:
		case <-end:
			return
		}
	}
}

func main() {
	grace, err := time.ParseDuration(cmp.Or(os.Getenv("TIDEMILL_GRACE"), "10") + "s")
	if err != nil {
		log.Fatal(err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	go func() {
		for range time.Tick(beatEvery) {
			asked, err := beat()
			if err != nil {
				log.Print(err)
			}
			if asked == "stop" || errors.Is(err, refused) {
				stop()
			}
		}
	}()
	failure := claim(ctx)
	drain(grace)
	left := []object{}
	for _, j := range jobs() {
		j.ask(errors.New("release"))
	}
	drain(margin)
	for _, j := range jobs() {
		left = append(left, object{"token": j.Token, "outcome": "release"})
	}
	if err := call("report", object{"items": left}, &object{}); failure != nil || err != nil {
		log.Fatal(cmp.Or(failure, err))
	}
}
