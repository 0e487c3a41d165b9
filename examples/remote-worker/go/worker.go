// A worker for Tidemill over HTTP, a goroutine for each slot. handlers.go has what it does, client.go how it calls,
// and ../README.md how to run it.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"os/signal"
	"syscall"
	"time"
)

const slots, beatEvery = 4, 8 * time.Second // A lease lasts 25 s.

var host, _ = os.Hostname()
var worker = object{"id": fmt.Sprintf("go-%s-%d", host, os.Getpid()), "slots": slots}

// run renews the lease of a job until its handler has ended, and reports.
func run(stop, release context.Context, j *job) error {
	ctx, ask := context.WithCancelCause(release)
	defer ask(nil)
	said, ended, item := make(chan string), make(chan object), object{"token": j.Token}
	j.ctx, j.say = ctx, said
	go func() { ended <- j.end() }()
	for beat := time.Tick(beatEvery); item["outcome"] == nil; item["token"] = j.Token {
		select {
		case item["progress"] = <-said:
		case item = <-ended:
		case <-beat:
			var now struct {
				Items [1]struct{ Code, Signal string }
			}
			err := call(stop, "renew", object{"worker": worker, "items": [1]object{item}}, &now)
			if asked := cmp.Or(now.Items[0].Code, now.Items[0].Signal); err != nil || asked != "none" {
				ask(cmp.Or(err, errors.New(asked)))
			}
		}
	}
	return call(stop, "report", object{"items": [1]object{item}}, &object{})
}

// slot runs one job after the other.
func slot(stop, release context.Context) (err error) {
	for err == nil && stop.Err() == nil {
		var got struct{ Leases []*job }
		err = call(stop, "claim", object{"worker": worker, "limit": 1, "wait": "3s"}, &got)
		for _, j := range got.Leases {
			if ended := run(stop, release, j); ended != nil {
				log.Print(ended)
			}
		}
	}
	return err
}

func main() {
	stop, _ := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	release, giveBack := context.WithCancelCause(context.Background())
	ended := make(chan error)
	for range slots {
		go func() { ended <- slot(stop, release) }()
	}
	context.AfterFunc(stop, func() {
		grace, _ := time.ParseDuration(cmp.Or(os.Getenv("TIDEMILL_GRACE"), "10") + "s")
		time.Sleep(grace)
		giveBack(errors.New("release"))
	})
	for range slots {
		if err := <-ended; err != nil && stop.Err() == nil {
			log.Fatal(err)
		}
	}
}
