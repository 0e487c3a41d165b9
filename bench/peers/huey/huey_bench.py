"""Measures Huey on its SQLite storage: huey_bench.py TASKS FILE. Its own settings, ten threads."""
import json
import os
import sys
import time

from huey import SqliteHuey

TASKS, FILE = int(sys.argv[1]), sys.argv[2]
NAME = "Huey (SQLite)"
huey = SqliteHuey("bench", filename=FILE, results=False)
done = 0
latencies = []


@huey.task()
def noop(payload):
    global done
    done += 1


@huey.task()
def stamp(payload):
    latencies.append((time.time() - payload["t"]) * 1e3)


def payload(i):
    return {"id": i, "t": time.time(), "to": f"user{i:08d}@example.com", "template": "welcome", "pad": "xxxxx"}


def report(workload, tasks, seconds):
    ordered = sorted(latencies)
    at = lambda share: ordered[min(int(share * len(ordered)), len(ordered) - 1)] if ordered else None
    print(json.dumps({"workload": workload, "store": NAME, "tasks": tasks, "seconds": seconds, "rate": tasks / seconds,
                      "p50_ms": at(0.5), "p95_ms": at(0.95), "p99_ms": at(0.99), "max_ms": at(1)}), flush=True)


def consumer():
    started = huey.create_consumer(workers=10, worker_type="thread", check_worker_health=False)
    started.start()
    return started


def until(limit, condition):
    end = time.time() + limit
    while time.time() < end and not condition():
        time.sleep(0.002)


start = time.time()
for i in range(TASKS):
    noop(payload(i))
report("enqueue-one", TASKS, time.time() - start)

start = time.time()
draining = consumer()
until(60, lambda: done >= TASKS)
report("drain", done, time.time() - start)
draining.stop(graceful=True)

picking = consumer()
time.sleep(1)
start = time.time()
for i in range(1000):
    time.sleep(max(0.0, start + i * 0.01 - time.time()))
    stamp(payload(i))
until(15, lambda: len(latencies) >= 1000)
report("pickup", len(latencies), time.time() - start)
sys.stdout.flush()
os._exit(0)  # Its threads would keep the process.
