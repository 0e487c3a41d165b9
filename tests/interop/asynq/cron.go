package main

import (
	"encoding/json"
	"flag"
	"time"

	"github.com/robfig/cron/v3"
)

// instants answers each line, a spec with its zone, with when Asynq's scheduler would fire it from then on.
func instants(arguments []string) error {
	flags := flag.NewFlagSet("cron", flag.ExitOnError)
	redisFlags(flags)
	flags.Parse(arguments)
	return answerLines(func(line []byte) (any, error) {
		var asked struct {
			Spec  string `json:"spec"`
			Zone  string `json:"zone"`
			From  int64  `json:"from"` // Unix seconds.
			Count int    `json:"count"`
		}
		if err := json.Unmarshal(line, &asked); err != nil {
			return nil, err
		}
		location, err := time.LoadLocation(asked.Zone)
		if err != nil {
			return nil, err
		}
		schedule, err := cron.ParseStandard(asked.Spec)
		if err != nil {
			return nil, err
		}
		next := []int64{}
		for at := time.Unix(asked.From, 0).In(location); len(next) < asked.Count; {
			if at = schedule.Next(at); at.IsZero() {
				break
			}
			next = append(next, at.Unix())
		}
		return map[string]any{"next": next}, nil
	})
}
