#!/usr/bin/env python3
"""Measures what a commit can't go below on this disk: 4 KiB written over old data, then fdatasync.

  bench/disk.py DIR

Two lines of benchmark JSON: one sync after the other, and one every 10 ms, as an idle system meets them.
"""
import json
import os
import sys
import time

BLOCK = b"x" * 4096
BLOCKS = 1024
SYNCS = 300


def measure(file, workload, pause):
    took = []
    for i in range(SYNCS):
        time.sleep(pause)
        start = time.perf_counter()
        os.pwrite(file, BLOCK, i % BLOCKS * len(BLOCK))
        os.fdatasync(file)
        took.append((time.perf_counter() - start) * 1000)
    seconds = sum(took) / 1000
    took.sort()
    at = lambda share: round(took[int(share * (SYNCS - 1))], 3)
    print(json.dumps({
        "workload": workload, "store": "the disk: write 4 KiB, fdatasync", "tasks": SYNCS, "seconds": seconds,
        "rate": SYNCS / seconds, "p50_ms": at(0.5), "p95_ms": at(0.95), "p99_ms": at(0.99), "max_ms": at(1)
    }))


def main():
    path = os.path.join(sys.argv[1], "disk.probe")
    file = os.open(path, os.O_RDWR | os.O_CREAT)
    try:
        os.pwrite(file, BLOCK * BLOCKS, 0)
        os.fsync(file)
        measure(file, "sync", 0)
        measure(file, "sync-idle", 0.01)
    finally:
        os.close(file)
        os.unlink(path)


if __name__ == "__main__":
    main()
