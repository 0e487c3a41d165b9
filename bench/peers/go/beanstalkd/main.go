// Measures beanstalkd: beanstalkd TASKS ADDRESS. It keeps all in memory (no -b), and delays in whole seconds.
package main

import (
	"errors"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/beanstalkd/go-beanstalk"

	"tidemill/bench/peers/measure"
)

const (
	name        = "beanstalkd (in memory)"
	connections = 10
	runFor      = time.Minute // Time to run of a job.
)

func dial() *beanstalk.Conn {
	connection, err := beanstalk.Dial("tcp", os.Args[2])
	measure.Must(err)
	return connection
}

// put enqueues n jobs over some connections.
func put(n, over int) {
	var group sync.WaitGroup
	var next atomic.Int64
	for range over {
		group.Go(func() {
			connection := dial()
			defer connection.Close()
			for i := int(next.Add(1)); i <= n; i = int(next.Add(1)) {
				_, err := connection.Put(measure.Payload(i, 0), 1024, 0, runFor)
				measure.Must(err)
			}
		})
	}
	group.Wait()
}

// work reserves and deletes until told to stop; the returned function tells so and waits.
func work(over int, handle func([]byte)) func() {
	var group sync.WaitGroup
	var stopped atomic.Bool
	for range over {
		group.Go(func() {
			connection := dial()
			defer connection.Close()
			for !stopped.Load() {
				id, body, err := connection.Reserve(100 * time.Millisecond)
				if errors.Is(err, beanstalk.ErrTimeout) {
					continue
				}
				measure.Must(err)
				handle(body)
				measure.Must(connection.Delete(id))
			}
		})
	}
	return func() {
		stopped.Store(true)
		group.Wait()
	}
}

func drain(n int) time.Duration {
	var done atomic.Int64
	start := time.Now()
	stop := work(connections, func([]byte) { done.Add(1) })
	measure.Until(time.Minute, func() bool { return done.Load() >= int64(n) })
	took := time.Since(start)
	stop()
	return took
}

func main() {
	n := measure.Tasks()
	start := time.Now()
	put(n, 1)
	measure.Print(name, "enqueue-one", n, time.Since(start), nil)
	drain(n)
	start = time.Now()
	put(n, 50)
	measure.Print(name, "enqueue-threads", n, time.Since(start), nil)
	measure.Print(name, "drain", n, drain(n), nil)

	latencies := &measure.Latencies{}
	stop := work(connections, func(body []byte) { latencies.Add(time.Duration(time.Now().UnixNano() - measure.Stamp(body))) })
	connection := dial()
	start = time.Now()
	for i := range 1000 {
		time.Sleep(time.Until(start.Add(time.Duration(i) * 10 * time.Millisecond)))
		_, err := connection.Put(measure.Payload(i, time.Now().UnixNano()), 1024, 0, runFor)
		measure.Must(err)
	}
	measure.Until(10*time.Second, func() bool { return latencies.Count() == 1000 })
	measure.Print(name, "pickup-process", 1000, time.Since(start), latencies)
	stop()
}
