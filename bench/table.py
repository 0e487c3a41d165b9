#!/usr/bin/env python3
"""Turns lines of benchmark JSON into a Markdown table: medians over rounds, and the range of the rates."""
import collections
import json
import statistics
import sys

ORDER = [
    "sync", "sync-idle", "enqueue-one", "enqueue-threads", "enqueue-bulk", "drain", "drain-deep", "pickup",
    "pickup-process", "due", "spread", "rest-one", "rest-bulk", "webhooks", "webhooks-500ms"
]
DATABASES = {"sqlite": "SQLite, synchronous=FULL", "postgres": "PostgreSQL", "mysql": "MariaDB"}
# The benchmark sets their pace; only the latencies say something.
PACED = ["pickup", "pickup-process", "spread"]


def number(value, digits=0):
    return "" if value is None else f"{value:,.{digits}f}"


def median(rows, field):
    values = [row[field] for row in rows if row.get(field) is not None]
    return statistics.median(values) if values else None


def rate_of(rates):
    return f"{number(statistics.median(rates))} ({number(min(rates))} – {number(max(rates))})"


def name_of(row):
    store = row["store"]
    if store.startswith("redis:"):
        return "**Tidemill** (Redis, everysec)" if store.endswith("?everysec") else "**Tidemill** (Redis)"
    scheme = store.split(":")[0]
    return f"**Tidemill** ({DATABASES[scheme]})" if scheme in DATABASES else store


def print_measures(groups):
    """Of rows with a value and its unit, and no rate."""
    print("\n| measure | median (least – most) |")
    print("|---|---:|")
    for workload, rows in groups.items():
        values = [row["value"] for row in rows]
        digits = 0 if min(values) >= 100 else 1 if min(values) >= 10 else 2
        least, middle, most = (number(f(values), digits) for f in (min, statistics.median, max))
        print(f"| {workload} | {middle} {rows[0]['unit']} ({least} – {most}) |")


def main():
    groups = collections.defaultdict(list)
    measures = collections.defaultdict(list)
    with open(sys.argv[1], encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            if "value" in row:
                measures[row["workload"]].append(row)
            else:
                groups[row["workload"], name_of(row)].append(row)
    print("| workload | system | tasks | rate/s, median (least – most) | p50 ms | p95 ms | p99 ms | max ms |")
    print("|---|---|---:|---:|---:|---:|---:|---:|")
    place = {workload: i for i, workload in enumerate(ORDER)}
    for (workload, name), rows in sorted(groups.items(), key=lambda item: (place.get(item[0][0], 99), item[0][1])):
        latencies = " | ".join(number(median(rows, field), 2) for field in ("p50_ms", "p95_ms", "p99_ms", "max_ms"))
        rate = "" if workload in PACED else rate_of([row["rate"] for row in rows])
        print(f"| {workload} | {name} | {number(rows[0]['tasks'])} | {rate} | {latencies} |")
    if measures:
        print_measures(measures)


if __name__ == "__main__":
    main()
