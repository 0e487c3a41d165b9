// Measures River: river TASKS sqlite FILE SYNCHRONOUS, or river TASKS postgres URL of an empty database. Rows of
// finished jobs stay, as River keeps them.
package main

import (
	"context"
	"database/sql"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
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

var background = context.Background()

// bench is River on one database.
type bench[Tx any] struct {
	name      string
	driver    riverdriver.Driver[Tx]
	producers int
	slots     int
	clear     func()
}

func (b *bench[Tx]) migrate() {
	migrator, err := rivermigrate.New(b.driver, nil)
	measure.Must(err)
	_, err = migrator.Migrate(background, rivermigrate.DirectionUp, nil)
	measure.Must(err)
}

// client with a handler works; without one it only inserts. A cooldown of 2 ms is River tuned for speed.
func (b *bench[Tx]) client(handle func(Noop), slots int) *river.Client[Tx] {
	config := &river.Config{Logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError + 1}))}
	if handle != nil {
		workers := river.NewWorkers()
		river.AddWorker(workers, &worker{handle: handle})
		config.Workers = workers
		config.Queues = map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: slots}}
		config.FetchCooldown = 2 * time.Millisecond
		config.FetchPollInterval = 20 * time.Millisecond
	}
	c, err := river.NewClient(b.driver, config)
	measure.Must(err)
	return c
}

func noop(i int, stamp int64) Noop { return Noop{string(measure.Payload(i, stamp))} }

// bulk inserts n tasks, 1,000 a call; with `due` each at its time.
func bulk[Tx any](c *river.Client[Tx], n int, due func(int) time.Time) {
	const size = 1000
	for i := 0; i < n; i += size {
		params := make([]river.InsertManyParams, 0, size)
		for k := i; k < min(i+size, n); k++ {
			param := river.InsertManyParams{Args: noop(k, 0)}
			if due != nil {
				param.Args = noop(k, due(k).UnixNano())
				param.InsertOpts = &river.InsertOpts{ScheduledAt: due(k)}
			}
			params = append(params, param)
		}
		_, err := c.InsertManyFast(background, params)
		measure.Must(err)
	}
}

func (b *bench[Tx]) threads(c *river.Client[Tx], n int) {
	var group sync.WaitGroup
	var next atomic.Int64
	for range b.producers {
		group.Go(func() {
			for i := int(next.Add(1)); i <= n; i = int(next.Add(1)) {
				_, err := c.Insert(background, noop(i, 0), nil)
				measure.Must(err)
			}
		})
	}
	group.Wait()
}

func (b *bench[Tx]) enqueues(n int) {
	c := b.client(nil, 0)
	start := time.Now()
	for i := range n / 2 {
		_, err := c.Insert(background, noop(i, 0), nil)
		measure.Must(err)
	}
	measure.Print(b.name, "enqueue-one", n/2, time.Since(start), nil)
	b.clear()
	start = time.Now()
	b.threads(c, n)
	measure.Print(b.name, "enqueue-threads", n, time.Since(start), nil)
	b.clear()
	start = time.Now()
	bulk(c, n, nil)
	measure.Print(b.name, "enqueue-bulk", n, time.Since(start), nil)
}

func (b *bench[Tx]) drain(n int) {
	var done atomic.Int64
	c := b.client(func(Noop) { done.Add(1) }, b.slots)
	start := time.Now()
	measure.Must(c.Start(background))
	measure.Until(time.Minute, func() bool { return done.Load() >= int64(n) })
	measure.Print(b.name, "drain", int(done.Load()), time.Since(start), nil)
	measure.Must(c.Stop(background))
	b.clear()
}

// latencies runs a worker while `meanwhile` goes on, until n jobs have been handled.
func (b *bench[Tx]) latencies(workload string, n, slots int, meanwhile func(*river.Client[Tx]) time.Time) {
	late := &measure.Latencies{}
	c := b.client(func(job Noop) {
		late.Add(time.Duration(time.Now().UnixNano() - measure.Stamp([]byte(job.Payload))))
	}, slots)
	measure.Must(c.Start(background))
	start := meanwhile(c)
	measure.Until(time.Minute, func() bool { return late.Count() == n })
	measure.Print(b.name, workload, n, time.Since(start), late)
	measure.Must(c.Stop(background))
	b.clear()
}

func (b *bench[Tx]) pickup() {
	b.latencies("pickup", 1000, 10, func(c *river.Client[Tx]) time.Time {
		start := time.Now().Add(time.Second)
		for i := range 1000 {
			time.Sleep(time.Until(start.Add(time.Duration(i) * 10 * time.Millisecond)))
			_, err := c.Insert(background, noop(i, time.Now().UnixNano()), nil)
			measure.Must(err)
		}
		return start
	})
}

// due: n tasks from one instant on, over some time.
func (b *bench[Tx]) due(workload string, n int, over time.Duration) {
	from := time.Now().Add(2*time.Second + time.Duration(n)*100*time.Microsecond)
	bulk(b.client(nil, 0), n, func(i int) time.Time { return from.Add(over * time.Duration(i) / time.Duration(n)) })
	b.latencies(workload, n, b.slots, func(*river.Client[Tx]) time.Time {
		time.Sleep(time.Until(from))
		return from
	})
}

func main() {
	n := measure.Tasks()
	if os.Args[2] == "postgres" {
		pool, err := pgxpool.New(background, os.Args[3])
		measure.Must(err)
		b := &bench[pgx.Tx]{name: "River (PostgreSQL)", driver: riverpgxv5.New(pool), producers: 32, slots: 2000}
		b.clear = func() {
			_, err := pool.Exec(background, "TRUNCATE river_job")
			measure.Must(err)
		}
		b.migrate()
		b.enqueues(n)
		b.drain(n)
		b.pickup()
		b.due("due", n, 0)
		b.due("spread", n/5, 10*time.Second)
		return
	}
	db, err := sql.Open("sqlite", "file:"+os.Args[3]+"?_pragma=journal_mode(WAL)&_pragma=busy_timeout(5000)&_pragma=synchronous("+os.Args[4]+")&_txlock=immediate")
	measure.Must(err)
	db.SetMaxOpenConns(1) // As River's documentation asks for SQLite.
	b := &bench[*sql.Tx]{name: "River (SQLite, synchronous=" + os.Args[4] + ")", driver: riversqlite.New(db), producers: 64, slots: 100}
	b.clear = func() {
		_, err := db.ExecContext(background, "DELETE FROM river_job")
		measure.Must(err)
	}
	b.migrate()
	b.enqueues(n)
	b.drain(n)
	b.pickup()
}
