// Package measure has what the Go peers share: the payload, the clock, and the one line of JSON a workload, of the
// same shape as `tidemill bench --json` prints.
package measure

import (
	"encoding/json"
	"fmt"
	"os"
	"sort"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Result is one line of output.
type Result struct {
	Workload string   `json:"workload"`
	Store    string   `json:"store"`
	Tasks    int      `json:"tasks"`
	Seconds  float64  `json:"seconds"`
	Rate     float64  `json:"rate"`
	P50      *float64 `json:"p50_ms"`
	P95      *float64 `json:"p95_ms"`
	P99      *float64 `json:"p99_ms"`
	Max      *float64 `json:"max_ms"`
}

// Print writes the line; latencies may be nil.
func Print(store, workload string, tasks int, took time.Duration, latencies *Latencies) {
	r := Result{Workload: workload, Store: store, Tasks: tasks, Seconds: took.Seconds(), Rate: float64(tasks) / took.Seconds()}
	if latencies != nil {
		r.P50, r.P95, r.P99, r.Max = latencies.at(0.5), latencies.at(0.95), latencies.at(0.99), latencies.at(1)
	}
	line, err := json.Marshal(r)
	Must(err)
	fmt.Println(string(line))
}

// PrintValue writes the line of what is no rate.
func PrintValue(workload string, value float64, unit string) {
	line, err := json.Marshal(map[string]any{"workload": workload, "value": value, "unit": unit})
	Must(err)
	fmt.Println(string(line))
}

// Latencies collects durations from many goroutines.
type Latencies struct {
	mutex  sync.Mutex
	values []float64
}

// Add takes one in.
func (l *Latencies) Add(d time.Duration) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	l.values = append(l.values, float64(d)/1e6)
}

// Count says how many there are.
func (l *Latencies) Count() int {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	return len(l.values)
}

func (l *Latencies) at(share float64) *float64 {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	if len(l.values) == 0 {
		return nil
	}
	sort.Float64s(l.values)
	index := min(int(share*float64(len(l.values))), len(l.values)-1)
	return &l.values[index]
}

// Payload is some 100 bytes of JSON with a stamp in it.
func Payload(i int, stamp int64) []byte {
	return []byte(fmt.Sprintf(`{"id":%08d,"t":%019d,"to":"user%08d@example.com","template":"welcome","pad":"xxxxx"}`, i, stamp, i))
}

// Stamp reads it back.
func Stamp(payload []byte) int64 {
	i := strings.Index(string(payload), `"t":`)
	value, err := strconv.ParseInt(string(payload[i+4:i+23]), 10, 64)
	Must(err)
	return value
}

// Until polls every 2 ms, up to the limit, and says whether it came true.
func Until(limit time.Duration, condition func() bool) bool {
	for end := time.Now().Add(limit); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		if condition() {
			return true
		}
	}
	return false
}

// Tasks is the first argument.
func Tasks() int {
	n, err := strconv.Atoi(os.Args[1])
	Must(err)
	return n
}

// Must ends the program on an error.
func Must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
