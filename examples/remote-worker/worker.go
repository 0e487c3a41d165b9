// A worker for Tidemill over HTTP: four tasks at a time, a goroutine for each. README.md says how to run it.
package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

type object = map[string]any

var url, client = cmp.Or(os.Getenv("TIDEMILL_SERVER"), "http://127.0.0.1:8470"), http.Client{Timeout: 10 * time.Second}
var worker, secret = object{"id": fmt.Sprint("go-", time.Now().UnixNano()), "slots": 4}, os.Getenv("TIDEMILL_TOKEN")
var release, giveBack = context.WithCancel(context.Background())
var outcomes = map[any]string{"none": "complete", "cancel": "archive", "hold": "hold", context.Canceled: "release"}

func handle(kind any, payload object, beat func(string) bool) (result, failure any) { // Ends when a beat says false.
	if name, ok := payload["name"].(string); ok && kind == "greet" {
		return object{"text": "hello " + name}, nil
	} else if kind != "nap" {
		return nil, fmt.Sprintf("%v of %v: there are nap, and greet, which takes a name", kind, payload)
	}
	for left, _ := payload["seconds"].(float64); left > 0 && beat(fmt.Sprint(left, " s left")); left-- {
		time.Sleep(time.Second)
	}
	return nil, nil
}

func call(verb string, body object) object { // The lease or item of the answer; none, after 1 s, if the server is away.
	sent, _ := json.Marshal(body)
	request, _ := http.NewRequest("POST", url+"/api/v1/"+verb, bytes.NewReader(sent))
	request.Header = http.Header{"Content-Type": {"application/json"}, "Authorization": {"Bearer " + secret}}
	var got struct{ Leases, Items []object }
	response, err := client.Do(request)
	if err == nil {
		defer response.Body.Close()
		err = cmp.Or(json.NewDecoder(response.Body).Decode(&got), fmt.Errorf("%s", response.Status))
	}
	if got.Leases == nil && got.Items == nil {
		fmt.Fprintf(os.Stderr, "%s: %v; again in 1 s\n", verb, err)
		time.Sleep(time.Second)
	}
	return append(append(got.Leases, got.Items...), nil)[0]
}

func main() {
	stop, _ := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	grace, _ := time.ParseDuration(cmp.Or(os.Getenv("TIDEMILL_GRACE"), "10") + "s")
	context.AfterFunc(stop, func() { time.Sleep(grace); giveBack(); time.Sleep(5 * time.Second); os.Exit(1) })
	slots := make(chan bool, 4)
	for slots <- true; stop.Err() == nil; slots <- true {
		go func() { // Waits for a task, has it handled, and reports what came of it, for as long as a lease lasts.
			if lease := call("claim", object{"worker": worker, "limit": 1, "wait": "3s"}); lease != nil {
				token, task, payload, asked := lease["token"], lease["task"].(object), object{}, any("none")
				json.Unmarshal(fmt.Append(nil, task["payload"].(object)["text"]), &payload)
				result, failure := handle(task["kind"], payload, func(progress string) bool {
					now := call("renew", object{"worker": worker, "items": []object{{"token": token, "progress": progress}}})
					asked = cmp.Or[any](release.Err(), now["code"], now["signal"], "none")
					return asked == "none"
				})
				why := cmp.Or(failure, asked)
				end := object{"token": token, "outcome": cmp.Or(outcomes[why], "retry"), "result": result, "error": why}
				for try := 0; try < 25 && call("report", object{"items": []object{end}}) == nil; try++ {
				}
			}
			<-slots
		}()
	}
	for range cap(slots) - 1 {
		slots <- true
	}
}
