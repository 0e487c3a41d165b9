// Measures Asynq: asynq TASKS ADDRESS, on an empty Redis.
package main

import (
	"bufio"
	"context"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hibiken/asynq"

	"tidemill/bench/peers/measure"
)

const (
	name      = "Asynq (Redis)"
	producers = 50
	slots     = 200
)

var address = asynq.RedisClientOpt{Addr: os.Args[2], PoolSize: 256}

// put enqueues n tasks over some connections; at says when each is due, and may be nil.
func put(n, over int, at func(i int) time.Time) {
	client := asynq.NewClient(address)
	defer client.Close()
	var group sync.WaitGroup
	var next atomic.Int64
	for range over {
		group.Go(func() {
			for i := int(next.Add(1)); i <= n; i = int(next.Add(1)) {
				stamp, options := time.Now(), []asynq.Option{}
				if at != nil {
					stamp = at(i)
					options = append(options, asynq.ProcessAt(stamp))
				}
				_, err := client.Enqueue(asynq.NewTask("noop", measure.Payload(i, stamp.UnixNano())), options...)
				measure.Must(err)
			}
		})
	}
	group.Wait()
}

// work handles tasks until the returned function is called.
func work(handle func(payload []byte)) func() {
	server := asynq.NewServer(address, asynq.Config{Concurrency: slots, LogLevel: asynq.ErrorLevel})
	measure.Must(server.Start(asynq.HandlerFunc(func(_ context.Context, task *asynq.Task) error {
		handle(task.Payload())
		return nil
	})))
	return server.Shutdown
}

// memory is what Redis uses, in bytes.
func memory() int {
	connection, err := net.Dial("tcp", address.Addr)
	measure.Must(err)
	defer connection.Close()
	_, err = connection.Write([]byte("INFO memory\r\n"))
	measure.Must(err)
	const field = "used_memory:"
	for lines := bufio.NewScanner(connection); lines.Scan(); {
		if used, found := strings.CutPrefix(lines.Text(), field); found {
			bytes, err := strconv.Atoi(used)
			measure.Must(err)
			return bytes
		}
	}
	panic("Redis does not tell " + field)
}

func drain(n int) time.Duration {
	var done atomic.Int64
	start := time.Now()
	stop := work(func([]byte) { done.Add(1) })
	measure.Until(time.Minute, func() bool { return done.Load() >= int64(n) })
	took := time.Since(start)
	stop()
	return took
}

// due measures how late n tasks start that are due evenly from two seconds hence, or all then.
func due(workload string, n int, over time.Duration) {
	from := time.Now().Add(2*time.Second + time.Duration(n)*30*time.Microsecond)
	put(n, producers, func(i int) time.Time { return from.Add(over * time.Duration(i) / time.Duration(n)) })
	late := &measure.Latencies{}
	stop := work(func(body []byte) { late.Add(time.Duration(time.Now().UnixNano() - measure.Stamp(body))) })
	time.Sleep(time.Until(from))
	measure.Until(over+time.Minute, func() bool { return late.Count() == n })
	measure.Print(name, workload, n, time.Since(from), late)
	stop()
}

func main() {
	n := measure.Tasks()
	start := time.Now()
	before := memory()
	put(n, 1, nil)
	measure.Print(name, "enqueue-one", n, time.Since(start), nil)
	measure.PrintValue("a pending task, "+name, float64(memory()-before)/float64(n), "bytes")
	drain(n)
	start = time.Now()
	put(n, producers, nil)
	measure.Print(name, "enqueue-threads", n, time.Since(start), nil)
	measure.Print(name, "drain", n, drain(n), nil)

	latencies := &measure.Latencies{}
	stop := work(func(body []byte) { latencies.Add(time.Duration(time.Now().UnixNano() - measure.Stamp(body))) })
	client := asynq.NewClient(address)
	defer client.Close()
	start = time.Now()
	for i := range 1000 {
		time.Sleep(time.Until(start.Add(time.Duration(i) * 10 * time.Millisecond)))
		_, err := client.Enqueue(asynq.NewTask("noop", measure.Payload(i, time.Now().UnixNano())))
		measure.Must(err)
	}
	measure.Until(10*time.Second, func() bool { return latencies.Count() == 1000 })
	measure.Print(name, "pickup", 1000, time.Since(start), latencies)
	stop()
	due("due", n, 0)
	due("spread", n/5, 10*time.Second)
}
