// Measures River on its SQLite driver: river TASKS FILE SYNCHRONOUS. Rows of finished jobs stay, as River keeps them.
package main

import (
	"context"
	"database/sql"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riversqlite"
	"github.com/riverqueue/river/rivermigrate"
	_ "modernc.org/sqlite"

	"tidemill/bench/peers/measure"
)

// Noop has the payload of the other programs, as River's JSON arguments.
type Noop struct {
	Payload string `json:"payload"`
}

// Kind names it.
func (Noop) Kind() string { return "noop" }

type worker struct {
	river.WorkerDefaults[Noop]
	handle func(Noop)
}

func (w *worker) Work(_ context.Context, job *river.Job[Noop]) error {
	w.handle(job.Args)
	return nil
}

var (
	background = context.Background()
	name       = "River (SQLite, synchronous=" + os.Args[3] + ")"
)

func open() *sql.DB {
	db, err := sql.Open("sqlite", "file:"+os.Args[2]+"?_pragma=journal_mode(WAL)&_pragma=busy_timeout(5000)&_pragma=synchronous("+os.Args[3]+")&_txlock=immediate")
	measure.Must(err)
	db.SetMaxOpenConns(1) // As River's documentation asks for SQLite.
	migrator, err := rivermigrate.New(riversqlite.New(db), nil)
	measure.Must(err)
	_, err = migrator.Migrate(background, rivermigrate.DirectionUp, nil)
	measure.Must(err)
	return db
}

// client with a handler works; without one it only inserts. A cooldown of 2 ms is River tuned for speed.
func client(db *sql.DB, handle func(Noop), slots int) *river.Client[*sql.Tx] {
	config := &river.Config{Logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))}
	if handle != nil {
		workers := river.NewWorkers()
		river.AddWorker(workers, &worker{handle: handle})
		config.Workers = workers
		config.Queues = map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: slots}}
		config.FetchCooldown = 2 * time.Millisecond
		config.FetchPollInterval = 20 * time.Millisecond
	}
	c, err := river.NewClient(riversqlite.New(db), config)
	measure.Must(err)
	return c
}

func noop(i int) Noop { return Noop{string(measure.Payload(i, time.Now().UnixNano()))} }

func clear(db *sql.DB) {
	_, err := db.ExecContext(background, "DELETE FROM river_job")
	measure.Must(err)
}

func bulk(c *river.Client[*sql.Tx], n int) {
	const size = 1000
	for i := 0; i < n; i += size {
		params := make([]river.InsertManyParams, 0, size)
		for k := i; k < min(i+size, n); k++ {
			params = append(params, river.InsertManyParams{Args: noop(k)})
		}
		_, err := c.InsertManyFast(background, params)
		measure.Must(err)
	}
}

func threads(c *river.Client[*sql.Tx], n int) {
	var group sync.WaitGroup
	var next atomic.Int64
	for range 64 {
		group.Go(func() {
			for i := int(next.Add(1)); i <= n; i = int(next.Add(1)) {
				_, err := c.Insert(background, noop(i), nil)
				measure.Must(err)
			}
		})
	}
	group.Wait()
}

func main() {
	n := measure.Tasks()
	db := open()
	inserter := client(db, nil, 0)

	start := time.Now()
	for i := range n / 2 {
		_, err := inserter.Insert(background, noop(i), nil)
		measure.Must(err)
	}
	measure.Print(name, "enqueue-one", n/2, time.Since(start), nil)
	clear(db)
	start = time.Now()
	threads(inserter, n)
	measure.Print(name, "enqueue-threads", n, time.Since(start), nil)
	clear(db)
	start = time.Now()
	bulk(inserter, n)
	measure.Print(name, "enqueue-bulk", n, time.Since(start), nil)

	var done atomic.Int64
	drainer := client(db, func(Noop) { done.Add(1) }, 100)
	start = time.Now()
	measure.Must(drainer.Start(background))
	measure.Until(time.Minute, func() bool { return done.Load() >= int64(n) })
	measure.Print(name, "drain", int(done.Load()), time.Since(start), nil)
	measure.Must(drainer.Stop(background))
	clear(db)

	latencies := &measure.Latencies{}
	picker := client(db, func(job Noop) {
		latencies.Add(time.Duration(time.Now().UnixNano() - measure.Stamp([]byte(job.Payload))))
	}, 10)
	measure.Must(picker.Start(background))
	start = time.Now().Add(time.Second)
	for i := range 1000 {
		time.Sleep(time.Until(start.Add(time.Duration(i) * 10 * time.Millisecond)))
		_, err := picker.Insert(background, noop(i), nil)
		measure.Must(err)
	}
	measure.Until(10*time.Second, func() bool { return latencies.Count() == 1000 })
	measure.Print(name, "pickup", 1000, time.Since(start), latencies)
	measure.Must(picker.Stop(background))
}
