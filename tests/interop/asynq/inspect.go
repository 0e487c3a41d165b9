package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"strconv"
	"time"

	"github.com/hibiken/asynq"
)

// all is one page of everything.
var all = asynq.PageSize(0)

// act is a request: its first word, and the rest of them.
type act struct {
	words int // At least, without the first.
	do    func(inspector *asynq.Inspector, words []string) (any, error)
}

var acts = map[string]act{
	"queues":            {0, func(i *asynq.Inspector, w []string) (any, error) { return i.Queues() }},
	"queue":             {1, func(i *asynq.Inspector, w []string) (any, error) { return queueInfo(i.GetQueueInfo(w[0])) }},
	"task":              {2, func(i *asynq.Inspector, w []string) (any, error) { return taskInfo(i.GetTaskInfo(w[0], w[1])) }},
	"list":              {2, list},
	"servers":           {0, servers},
	"scheduler_entries": {0, schedulerEntries},
	"scheduler_events":  {1, schedulerEvents},
	"groups":            {1, groups},
	"history":           {2, history},
	"run":               {2, func(i *asynq.Inspector, w []string) (any, error) { return done(i.RunTask(w[0], w[1])) }},
	"archive":           {2, func(i *asynq.Inspector, w []string) (any, error) { return done(i.ArchiveTask(w[0], w[1])) }},
	"delete":            {2, func(i *asynq.Inspector, w []string) (any, error) { return done(i.DeleteTask(w[0], w[1])) }},
	"cancel":            {1, func(i *asynq.Inspector, w []string) (any, error) { return done(i.CancelProcessing(w[0])) }},
	"pause":             {1, func(i *asynq.Inspector, w []string) (any, error) { return done(i.PauseQueue(w[0])) }},
	"unpause":           {1, func(i *asynq.Inspector, w []string) (any, error) { return done(i.UnpauseQueue(w[0])) }},
	"remove_queue": {1, func(i *asynq.Inspector, w []string) (any, error) {
		return done(i.DeleteQueue(w[0], len(w) > 1 && w[1] == "force"))
	}},
	"update_payload": {3, func(i *asynq.Inspector, w []string) (any, error) {
		return done(i.UpdateTaskPayload(w[0], w[1], []byte(w[2])))
	}},
	"run_all":     {2, ofAll("run")},
	"archive_all": {2, ofAll("archive")},
	"delete_all":  {2, ofAll("delete")},
}

// inspect answers requests, each a list of words as ["list", "default", "pending"], with {"value": ...} or
// {"error": ...}.
func inspect(arguments []string) error {
	flags := flag.NewFlagSet("inspect", flag.ExitOnError)
	redis := redisFlags(flags)
	flags.Parse(arguments)
	inspector := asynq.NewInspector(redis())
	defer inspector.Close()
	return answerLines(func(line []byte) (any, error) {
		var words []string
		if err := json.Unmarshal(line, &words); err != nil {
			return nil, err
		}
		if len(words) == 0 || acts[words[0]].do == nil || len(words)-1 < acts[words[0]].words {
			return nil, fmt.Errorf("no request: %s", line)
		}
		value, err := acts[words[0]].do(inspector, words[1:])
		return map[string]any{"value": value}, err
	})
}

func done(err error) (any, error) { return true, err }

// unix is null for a time that is none.
func unix(at time.Time) any {
	if at.IsZero() {
		return nil
	}
	return at.Unix()
}

func queueInfo(info *asynq.QueueInfo, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	return map[string]any{
		"queue": info.Queue, "size": info.Size, "groups": info.Groups, "latency_ms": info.Latency.Milliseconds(),
		"pending": info.Pending, "active": info.Active, "scheduled": info.Scheduled, "retry": info.Retry,
		"archived": info.Archived, "completed": info.Completed, "aggregating": info.Aggregating,
		"processed": info.Processed, "failed": info.Failed, "processed_total": info.ProcessedTotal,
		"failed_total": info.FailedTotal, "paused": info.Paused, "memory": info.MemoryUsage,
	}, nil
}

func taskInfo(info *asynq.TaskInfo, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	return map[string]any{
		"id": info.ID, "queue": info.Queue, "type": info.Type, "payload": string(info.Payload),
		"headers": info.Headers, "state": info.State.String(), "max_retry": info.MaxRetry, "retried": info.Retried,
		"error": info.LastErr, "last_failed_at": unix(info.LastFailedAt), "timeout_s": info.Timeout.Seconds(),
		"deadline": unix(info.Deadline), "group": info.Group, "next_at": unix(info.NextProcessAt),
		"orphaned": info.IsOrphaned, "retention_s": info.Retention.Seconds(),
		"completed_at": unix(info.CompletedAt), "result": string(info.Result),
	}, nil
}

func list(i *asynq.Inspector, words []string) (any, error) {
	lists := map[string]func(string, ...asynq.ListOption) ([]*asynq.TaskInfo, error){
		"pending": i.ListPendingTasks, "active": i.ListActiveTasks, "scheduled": i.ListScheduledTasks,
		"retry": i.ListRetryTasks, "archived": i.ListArchivedTasks, "completed": i.ListCompletedTasks,
	}
	if len(words) > 2 {
		lists["aggregating"] = func(queue string, options ...asynq.ListOption) ([]*asynq.TaskInfo, error) {
			return i.ListAggregatingTasks(queue, words[2], options...)
		}
	}
	if lists[words[1]] == nil {
		return nil, fmt.Errorf("no list of %v", words)
	}
	tasks, err := lists[words[1]](words[0], all)
	values := []any{}
	for _, task := range tasks {
		value, _ := taskInfo(task, nil)
		values = append(values, value)
	}
	return values, err
}

func servers(i *asynq.Inspector, _ []string) (any, error) {
	infos, err := i.Servers()
	values := []any{}
	for _, info := range infos {
		workers := []any{}
		for _, worker := range info.ActiveWorkers {
			workers = append(workers, map[string]any{
				"id": worker.TaskID, "type": worker.TaskType, "payload": string(worker.TaskPayload),
				"queue": worker.Queue, "started_at": unix(worker.Started), "deadline": unix(worker.Deadline),
			})
		}
		values = append(values, map[string]any{
			"id": info.ID, "host": info.Host, "pid": info.PID, "concurrency": info.Concurrency, "queues": info.Queues,
			"strict": info.StrictPriority, "started_at": unix(info.Started), "status": info.Status,
			"workers": workers,
		})
	}
	return values, err
}

func schedulerEntries(i *asynq.Inspector, _ []string) (any, error) {
	entries, err := i.SchedulerEntries()
	values := []any{}
	for _, entry := range entries {
		options := []string{}
		for _, option := range entry.Opts {
			options = append(options, option.String())
		}
		values = append(values, map[string]any{
			"id": entry.ID, "spec": entry.Spec, "type": entry.Task.Type(), "payload": string(entry.Task.Payload()),
			"options": options, "next_at": unix(entry.Next), "previous_at": unix(entry.Prev),
		})
	}
	return values, err
}

func schedulerEvents(i *asynq.Inspector, words []string) (any, error) {
	events, err := i.ListSchedulerEnqueueEvents(words[0], all)
	values := []any{}
	for _, event := range events {
		values = append(values, map[string]any{"id": event.TaskID, "enqueued_at": unix(event.EnqueuedAt)})
	}
	return values, err
}

func groups(i *asynq.Inspector, words []string) (any, error) {
	infos, err := i.Groups(words[0])
	sizes := map[string]int{}
	for _, info := range infos {
		sizes[info.Group] = info.Size
	}
	return sizes, err
}

// history has the last days first.
func history(i *asynq.Inspector, words []string) (any, error) {
	days, err := strconv.Atoi(words[1])
	if err != nil {
		return nil, err
	}
	stats, err := i.History(words[0], days)
	values := []any{}
	for _, day := range stats {
		values = append(values, map[string]any{
			"date": day.Date.UTC().Format(time.DateOnly), "processed": day.Processed, "failed": day.Failed,
		})
	}
	return values, err
}

// ofAll does to a queue's tasks of a state, or of a group, what run, archive or delete do to one. It gives
// their number.
func ofAll(verb string) func(*asynq.Inspector, []string) (any, error) {
	return func(i *asynq.Inspector, words []string) (any, error) {
		group := ""
		if len(words) > 2 {
			group = words[2]
		}
		of := map[string]func(string) (int, error){
			"run scheduled":     i.RunAllScheduledTasks,
			"run retry":         i.RunAllRetryTasks,
			"run archived":      i.RunAllArchivedTasks,
			"archive pending":   i.ArchiveAllPendingTasks,
			"archive scheduled": i.ArchiveAllScheduledTasks,
			"archive retry":     i.ArchiveAllRetryTasks,
			"delete pending":    i.DeleteAllPendingTasks,
			"delete scheduled":  i.DeleteAllScheduledTasks,
			"delete retry":      i.DeleteAllRetryTasks,
			"delete archived":   i.DeleteAllArchivedTasks,
			"delete completed":  i.DeleteAllCompletedTasks,
			"run aggregating":   func(queue string) (int, error) { return i.RunAllAggregatingTasks(queue, group) },
			"archive aggregating": func(queue string) (int, error) {
				return i.ArchiveAllAggregatingTasks(queue, group)
			},
			"delete aggregating": func(queue string) (int, error) { return i.DeleteAllAggregatingTasks(queue, group) },
		}[verb+" "+words[1]]
		if of == nil {
			return nil, fmt.Errorf("Asynq can't %s all of %s", verb, words[1])
		}
		return of(words[0])
	}
}
