package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"time"
)

type object = map[string]any

var server, client = cmp.Or(os.Getenv("TIDEMILL_SERVER"), "http://127.0.0.1:8470"), http.Client{Timeout: 10 * time.Second}

// call tries again while the server is away, until stop. It fails at once with what the server refuses.
func call(stop context.Context, verb string, body, answer any) error {
	sent, err := json.Marshal(body)
	for ; err == nil; err = stop.Err() {
		request, _ := http.NewRequest("POST", server+"/api/v1/"+verb, bytes.NewReader(sent))
		request.Header.Set("Content-Type", "application/json")
		request.Header.Set("Authorization", "Bearer "+os.Getenv("TIDEMILL_TOKEN"))
		response, away := client.Do(request)
		if away == nil {
			text, _ := io.ReadAll(response.Body) // If it is cut, it can't be decoded.
			response.Body.Close()
			if response.StatusCode == 200 {
				return json.Unmarshal(text, answer)
			} else if away = fmt.Errorf("%s: %s", verb, text); response.StatusCode < 500 {
				return away
			}
		}
		log.Printf("%v; again in 1 s", away)
		time.Sleep(time.Second)
	}
	return err
}
