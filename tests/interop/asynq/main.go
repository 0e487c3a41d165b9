// Program peer is Go's Asynq, for tests to talk to: each subcommand reads and prints lines of JSON.
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"github.com/hibiken/asynq"
)

func main() {
	commands := map[string]func([]string) error{
		"client":    client,
		"server":    server,
		"inspect":   inspect,
		"scheduler": scheduler,
		"cron":      instants,
	}
	if len(os.Args) < 2 || commands[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: peer client|server|inspect|scheduler|cron -redis HOST:PORT [flag]...")
		os.Exit(2)
	}
	if err := commands[os.Args[1]](os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// redisFlags are those of all subcommands; the function gives the connection after the flags are parsed.
func redisFlags(flags *flag.FlagSet) func() asynq.RedisClientOpt {
	address := flags.String("redis", "127.0.0.1:6379", "where Redis listens")
	database := flags.Int("db", 0, "number of the database")
	return func() asynq.RedisClientOpt { return asynq.RedisClientOpt{Addr: *address, DB: *database} }
}

var printing sync.Mutex

// say prints one line.
func say(value any) {
	line, err := json.Marshal(value)
	if err != nil {
		line, _ = json.Marshal(failure{err.Error()})
	}
	printing.Lock()
	defer printing.Unlock()
	os.Stdout.Write(append(line, '\n'))
}

type failure struct {
	Error string `json:"error"`
}

// answerLines prints what answer makes of each line of the standard input, or its error.
func answerLines(answer func(line []byte) (any, error)) error {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		value, err := answer(lines.Bytes())
		if err != nil {
			value = failure{err.Error()}
		}
		say(value)
	}
	return lines.Err()
}

// untilSignal returns when the process is asked to end.
func untilSignal() {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	<-signals
}
