#!/usr/bin/env python3
"""Measures `tidemill serve`: lines of benchmark JSON, as `tidemill bench` prints them, and of measures.

  bench/rest.py DIR [--tidemill PROGRAM] [--seconds N]

Needs wrk (apt-get install wrk). Each workload has a server and a store of its own.
"""
import argparse
import contextlib
import http.client
import json
import os
import pathlib
import resource
import socket
import subprocess
import time

HERE = pathlib.Path(__file__).parent
CONNECTIONS = 10_000
TASK = '{"kind":"hook","payload":{"pad":"' + "x" * 90 + '"}}'


class Server:
    """A `tidemill serve`, from its start until it answers."""

    def __init__(self, tidemill, directory, config=""):
        for old in directory.glob("rest.*"):
            old.unlink()
        self.store = f"sqlite:{directory}/rest.db"
        file = directory / "rest.yaml"
        file.write_text(f"listen: 127.0.0.1:0\nlog: {{level: warning}}\n{config}", encoding="utf-8")
        start = time.perf_counter()
        self.process = subprocess.Popen([tidemill, "serve", "--config", file, "--store", self.store],
                                        stdout=subprocess.PIPE, text=True)
        self.port = int(self.process.stdout.readline().rsplit(":", 1)[1])
        self.connection = http.client.HTTPConnection("127.0.0.1", self.port)
        self.check_health()
        self.ready_ms = (time.perf_counter() - start) * 1000

    def check_health(self):
        self.connection.request("GET", "/healthz")
        if self.connection.getresponse().read() != b"ok\n":
            raise SystemExit("rest.py: /healthz is not well")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()

    def enqueue(self, tasks):
        for _ in range(tasks // 1000):
            body = "[" + ",".join([TASK] * 1000) + "]"
            self.connection.request("POST", "/api/v1/tasks", body, {"Content-Type": "application/json"})
            answer = json.load(self.connection.getresponse())
            if answer["failed"]:
                raise SystemExit(f"rest.py: tasks were refused: {answer}")

    def resident_mb(self):
        pages = int(pathlib.Path(f"/proc/{self.process.pid}/statm").read_text(encoding="ascii").split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6

    def cpu_seconds(self):
        stat = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()
        return (int(stat[11]) + int(stat[12])) / os.sysconf("SC_CLK_TCK")


def say(workload, store, **fields):
    print(json.dumps({"workload": workload, "store": store, **fields}), flush=True)


def load(arguments, workload, batch, connections):
    with Server(arguments.tidemill, arguments.dir) as server:
        url = f"http://127.0.0.1:{server.port}/api/v1/tasks"
        out = subprocess.run(
            ["wrk", "-t1", f"-c{connections}", f"-d{arguments.seconds}s", "-s", HERE / "rest.lua", url],
            env={**os.environ, "BATCH": str(batch)}, check=True, capture_output=True, text=True).stdout
        measured = json.loads(out.splitlines()[-1])
        if measured.pop("failed"):
            raise SystemExit(f"rest.py: requests failed:\n{out}")
        say(workload, server.store, **measured)


def webhooks(arguments, workload, delay, tasks):
    """The rate at which calls reach the receiver, without the first and last tenth, when not all slots are taken."""
    with subprocess.Popen([arguments.tidemill, "bench-receiver", "--delay", delay], stdout=subprocess.PIPE,
                          text=True) as receiver:
        host = receiver.stdout.readline().split("//")[1].strip()
        received = http.client.HTTPConnection(host)

        def count():
            received.request("GET", "/")
            return int(received.getresponse().read())

        config = (f"queues: [default]\nconcurrency: 1000\noutgoing: {{allow_networks: [127.0.0.0/8]}}\n"
                  f"deliveries:\n  - {{kinds: [hook], http: 'http://{host}/'}}\n")
        with Server(arguments.tidemill, arguments.dir, config) as server:
            marks = []
            server.enqueue(tasks)
            while not marks or marks[-1][1] < tasks:
                marks.append((time.perf_counter(), count()))
                time.sleep(0.02)
            inner = [mark for mark in marks if tasks * 0.1 <= mark[1] <= tasks * 0.9]
            seconds = inner[-1][0] - inner[0][0]
            say(workload, server.store, tasks=tasks, seconds=seconds, rate=(inner[-1][1] - inner[0][1]) / seconds)
        receiver.terminate()


def idle(arguments):
    with Server(arguments.tidemill, arguments.dir) as server:
        say("serve-ready", server.store, value=server.ready_ms, unit="ms")
        time.sleep(10)
        cpu = server.cpu_seconds()
        time.sleep(10)
        say("serve-idle-cpu", server.store, value=(server.cpu_seconds() - cpu) * 10, unit="% of a core")
        say("serve-idle-memory", server.store, value=server.resident_mb(), unit="MB")


def connections(arguments, workload, target):
    with Server(arguments.tidemill, arguments.dir) as server, contextlib.ExitStack() as open_ones:
        task = '{"kind":"hook","id":"task"}'  # To wait for.
        server.connection.request("POST", "/api/v1/tasks", task, {"Content-Type": "application/json"})
        server.connection.getresponse().read()
        for _ in range(CONNECTIONS):
            peer = open_ones.enter_context(socket.create_connection(("127.0.0.1", server.port)))
            peer.sendall(f"GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        server.check_health()
        time.sleep(2)
        cpu = server.cpu_seconds()
        time.sleep(5)
        say(f"{workload}-cpu", server.store, value=(server.cpu_seconds() - cpu) * 20, unit="% of a core")
        say(f"{workload}-memory", server.store, value=server.resident_mb(), unit="MB")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("dir", type=pathlib.Path)
    parser.add_argument("--tidemill", default=HERE.parent / "build/release/src/cli/tidemill")
    parser.add_argument("--seconds", type=int, default=5)
    arguments = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    load(arguments, "rest-one", 1, 64)
    load(arguments, "rest-bulk", 1000, 8)
    webhooks(arguments, "webhooks", "0", 50_000)
    webhooks(arguments, "webhooks-500ms", "500ms", 10_000)
    idle(arguments)
    connections(arguments, "10000-sse", "/api/v1/events?topics=stats")
    connections(arguments, "10000-long-polls", "/api/v1/tasks/task/wait?timeout=5m")


if __name__ == "__main__":
    main()
