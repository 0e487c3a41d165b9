// A stand-in for a node of PersistentQueue, written from its specification (part A of the document that
// docs/moving-from-persistent-queue.md names): its statements S1 to S9 in their order, its loop, and those of
// its defects that other nodes notice: a release that doesn't ask whose the lease is, a cursor that survives
// the lease, no second look at a row before it runs, the barrier after each batch, results that are thrown
// away when the lease was lost, and a second failed renewal that ends the process.
//
// -unit is the length of PersistentQueue's 5 s: with 1 all of its times are a fifth.
package main

import (
	"container/heap"
	"crypto/md5"
	"database/sql"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	_ "github.com/go-sql-driver/mysql"
)

type job struct {
	id, start, create, update uint64
	params                    string
	kind, status              int
	retries                   int
	due                       int64
}

type byDue []*job

func (h byDue) Len() int           { return len(h) }
func (h byDue) Less(i, j int) bool { return h[i].due < h[j].due }
func (h byDue) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *byDue) Push(x any)        { *h = append(*h, x.(*job)) }
func (h *byDue) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}

const loadLimit = 10000
const queueLimit = 50000
const capacity = 100
const holesPerQuery = 2001

type node struct {
	db                     *sql.DB
	service, name, me      string
	kind, unit             int
	needRetry              bool
	maxRetries, wait, days int

	maxID uint64 // Not reset with a new term.

	mutex  sync.Mutex
	canRun bool

	fifo    []*job
	delayed byDue
	holes   map[uint64]time.Time
}

// ---- The lease

func (n *node) tryLock() bool {
	// S1: each attempt, an error for a row that is there.
	_, err := n.db.Exec("INSERT INTO shedlock_tab (lock_name, lock_until, locked_at, locked_by) "+
		"VALUES (?, NOW(), NOW(), ?)", n.name, n.me)
	if err != nil && !strings.Contains(err.Error(), "Duplicate entry") {
		log.Printf("lock row: %v", err)
		return false
	}
	// S2
	return n.one("UPDATE shedlock_tab SET lock_until = DATE_ADD(NOW(), INTERVAL ? SECOND), locked_at = NOW(), "+
		"locked_by = ? WHERE lock_name = ? AND lock_until <= NOW()", 6*n.unit, n.me, n.name)
}

func (n *node) renew(failed chan struct{}, stop chan struct{}) {
	for {
		select {
		case <-stop:
			return
		case <-time.After(time.Duration(5*n.unit) * time.Second):
		}
		// S3
		if n.one("UPDATE shedlock_tab SET lock_until = DATE_ADD(NOW(), INTERVAL ? SECOND), locked_at = NOW() "+
			"WHERE lock_name = ? AND lock_until > NOW() AND locked_by = ?", 6*n.unit, n.name, n.me) {
			continue
		}
		log.Print("renewal failed")
		close(failed) // The second time this ends the process.
	}
}

func (n *node) release() {
	// S4: whoever it belongs to.
	if !n.one("UPDATE shedlock_tab SET lock_until = GREATEST(DATE_ADD(locked_at, INTERVAL ? SECOND), NOW()) "+
		"WHERE lock_name = ?", 5*n.unit, n.name) {
		log.Print("unlock error")
	}
}

func (n *node) one(text string, args ...any) bool {
	result, err := n.db.Exec(text, args...)
	if err != nil {
		log.Print(err)
		return false
	}
	rows, err := result.RowsAffected()
	return err == nil && rows == 1
}

// ---- Loading

func (n *node) load() {
	now := time.Now()
	for id, since := range n.holes {
		if now.Sub(since) > 5*time.Minute {
			delete(n.holes, id)
		}
	}
	if len(n.fifo)+len(n.delayed) > queueLimit {
		return
	}
	if n.maxID == 0 && n.days != -1 {
		n.firstLoad(now)
		return
	}
	ids := []string{"0"}
	for id := range n.holes {
		if len(ids) < holesPerQuery {
			ids = append(ids, strconv.FormatUint(id, 10))
		}
	}
	// S7: neither type, nor status, nor time.
	rows, err := n.scan("SELECT * FROM async_job_tab WHERE id > ? OR id IN ("+strings.Join(ids, ",")+
		") ORDER BY id ASC LIMIT ?", n.maxID, loadLimit)
	if err != nil {
		log.Printf("load: %v", err)
		return
	}
	for _, one := range rows {
		if one.id < n.maxID {
			delete(n.holes, one.id)
		}
		for id := n.maxID + 1; id < one.id; id++ {
			n.holes[id] = now
		}
		n.maxID = max(n.maxID, one.id)
		n.take(one, now)
	}
}

func (n *node) firstLoad(now time.Time) {
	// S5: fails for an empty table.
	var greatest uint64
	if err := n.db.QueryRow("SELECT MAX(id) FROM async_job_tab").Scan(&greatest); err != nil {
		log.Printf("max id: %v", err)
		return
	}
	// S6: all types.
	rows, err := n.scan("SELECT * FROM async_job_tab WHERE job_status = 0 AND create_time >= ? "+
		"ORDER BY id ASC LIMIT ?", now.Unix()-int64(24*3600*n.days), loadLimit)
	if err != nil {
		log.Printf("first load: %v", err)
		return
	}
	n.maxID = greatest
	for _, one := range rows {
		n.maxID = one.id
		n.take(one, now)
	}
}

func (n *node) scan(text string, args ...any) ([]*job, error) {
	rows, err := n.db.Query(text, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []*job
	for rows.Next() {
		one := &job{}
		// Exactly these seven, and none of them NULL.
		if err := rows.Scan(&one.id, &one.params, &one.kind, &one.status, &one.start, &one.create,
			&one.update); err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	return all, nil
}

func (n *node) take(one *job, now time.Time) {
	if one.kind != n.kind || one.status != 0 {
		return
	}
	if one.start == 0 {
		one.due = now.Unix()
		n.fifo = append(n.fifo, one)
		return
	}
	one.due = int64(one.start)
	heap.Push(&n.delayed, one)
}

// ---- Running

func (n *node) dispatch(results chan *job) int {
	submitted := 0
	submit := func(one *job) bool {
		if submitted >= capacity {
			return false
		}
		submitted++
		copied := *one
		go func() {
			n.handle(&copied)
			results <- &copied
		}()
		return true
	}
	now := time.Now().Unix()
	for count := len(n.fifo); count > 0; count-- {
		one := n.fifo[0]
		n.fifo = n.fifo[1:]
		if one.due >= now {
			n.fifo = append(n.fifo, one)
		} else if !submit(one) {
			n.fifo = append([]*job{one}, n.fifo...)
			return submitted
		}
	}
	for count := len(n.delayed); count > 0 && len(n.delayed) > 0; count-- {
		one := heap.Pop(&n.delayed).(*job)
		if one.due > now {
			heap.Push(&n.delayed, one) // And it runs all the same.
		}
		if !submit(one) {
			n.fifo = append([]*job{one}, n.fifo...)
		}
	}
	return submitted
}

func (n *node) handle(one *job) {
	n.note(one, "begin")
	verb, rest, _ := strings.Cut(one.params, ":")
	number, _ := strconv.Atoi(rest)
	switch verb {
	case "slow":
		time.Sleep(time.Duration(number) * time.Millisecond)
		one.status = 1
	case "fail":
		one.status = 2
	case "retry":
		one.status = 4
	default:
		one.status = 1
	}
	n.note(one, "end")
}

func (n *node) note(one *job, what string) {
	if _, err := n.db.Exec("INSERT INTO effects (job_id, node, what) VALUES (?, ?, ?)", one.id, n.me, what); err != nil {
		log.Print(err)
	}
}

func (n *node) collect(results chan *job, count int) {
	for ; count > 0; count-- {
		one := <-results
		n.mutex.Lock()
		lost := !n.canRun
		n.mutex.Unlock()
		now := time.Now().Unix()
		switch one.status {
		case 3:
			one.due = now + int64(n.wait)
			n.fifo = append(n.fifo, one)
			continue
		case 0, 4:
			if !n.needRetry {
				continue
			}
			if one.retries++; one.retries <= n.maxRetries {
				one.due = now + int64(n.wait)
				n.fifo = append(n.fifo, one)
				continue
			}
			one.status = 2
		}
		if lost {
			log.Printf("dropped the result of %d", one.id)
			continue
		}
		// S8: whatever the row has become.
		if !n.one("UPDATE async_job_tab SET job_status = ?, update_time = ? WHERE id = ?", one.status, now, one.id) {
			log.Printf("update of %d changed nothing", one.id)
		}
	}
}

func (n *node) lead() {
	n.fifo, n.delayed, n.holes = nil, nil, map[uint64]time.Time{}
	n.canRun = true
	failed, stop := make(chan struct{}), make(chan struct{})
	go n.renew(failed, stop)
	go func() {
		<-failed
		n.mutex.Lock()
		n.canRun = false
		n.mutex.Unlock()
	}()
	results := make(chan *job, queueLimit)
	rate := float64(n.unit)
	for {
		n.mutex.Lock()
		running := n.canRun
		n.mutex.Unlock()
		if !running {
			break
		}
		n.load()
		now := time.Now().Unix()
		if len(n.fifo) == 0 && (len(n.delayed) == 0 || n.delayed[0].due > now) {
			rate = min(rate*1.2, float64(12*n.unit))
		} else {
			rate = float64(n.unit)
			n.collect(results, n.dispatch(results))
		}
		time.Sleep(time.Duration(rate) * time.Second)
	}
	stop <- struct{}{}
	n.release()
}

func (n *node) add(params any, start int64) error {
	text, err := json.Marshal(params)
	if err != nil {
		return err
	}
	now := time.Now().Unix()
	// S9
	if !n.one("INSERT INTO async_job_tab (params, job_type, job_status, start_time, create_time, update_time) "+
		"VALUES (?, ?, 0, ?, ?, ?)", string(text), n.kind, start, now, now) {
		return fmt.Errorf("add async job error")
	}
	return nil
}

func main() {
	dsn := flag.String("dsn", "", "of go-sql-driver")
	service := flag.String("service", "svc", "")
	kind := flag.Int("type", 7, "")
	unit := flag.Int("unit", 5, "seconds")
	retry := flag.Bool("retry", false, "")
	maxRetries := flag.Int("max-retries", 0, "")
	wait := flag.Int("wait", 1, "seconds")
	days := flag.Int("days", 7, "")
	count := flag.Int("add", 0, "enqueue so many jobs and end")
	flag.Parse()
	db, err := sql.Open("mysql", *dsn)
	if err != nil {
		log.Fatal(err)
	}
	n := &node{db: db, service: *service, kind: *kind, unit: *unit, needRetry: *retry, maxRetries: *maxRetries,
		wait: *wait, days: *days, name: fmt.Sprintf("%x", md5.Sum([]byte(*service))),
		me: fmt.Sprintf("%s-go--%d", *service, time.Now().UnixNano())}
	if *count > 0 {
		for i := range *count {
			if err := n.add(map[string]int{"number": i}, 0); err != nil {
				log.Fatal(err)
			}
		}
		os.Exit(0)
	}
	for {
		if n.tryLock() {
			log.Print("leads")
			n.lead()
		} else {
			log.Print("failed attempt")
		}
		time.Sleep(time.Duration(6**unit) * time.Second)
	}
}
