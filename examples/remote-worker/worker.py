"""A worker for Tidemill over HTTP: a handler for each kind, a thread for each task. README.md says how to run it."""
import http.client
import json
import os
import signal
import sys
import threading
import time
import urllib.error
import urllib.request

SERVER = os.environ.get("TIDEMILL_SERVER", "http://127.0.0.1:8470")
HEADERS = {"Content-Type": "application/json", "Authorization": f"Bearer {os.environ.get('TIDEMILL_TOKEN', '')}"}
GRACE = float(os.environ.get("TIDEMILL_GRACE", "10"))  # Seconds that tasks may go on after SIGTERM.
BEAT, LEASE, MARGIN = 8, 25, 2  # Seconds.
WORKER = {"id": f"py-{os.uname().nodename}-{os.getpid()}", "slots": 4}
# What becomes of an attempt that was told to stop; any other has failed.
ENDS = {"cancel": {"outcome": "archive", "error": "cancelled"}, "hold": {"outcome": "hold"},
        "release": {"outcome": "release"}}
running = {}  # Jobs by token.
freed, stopping = threading.Event(), threading.Event()


def greet(job):
    return {"text": "hello " + job.payload()["name"]}


def nap(job):
    for second in range(job.payload()["seconds"]):
        job.progress = f"{second} s"
        if job.stop.wait(1):
            raise InterruptedError(job.asked)


HANDLERS = {"greet": greet, "nap": nap}


def call(verb, body):
    """Raises OSError when the server is away, and ValueError when it refuses."""
    request = urllib.request.Request(f"{SERVER}/api/v1/{verb}", json.dumps(body).encode(), HEADERS)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.loads(answer.read())
    except urllib.error.HTTPError as error:
        raise (OSError if error.code >= 500 else ValueError)(error.read().decode()) from error
    except http.client.HTTPException as error:
        raise OSError(f"the answer broke off: {error!r}") from error


def patiently(verb, body, wanted):
    """Backs off while the server is away; None when the answer is no longer wanted."""
    pause = 0.25
    while wanted():
        try:
            return call(verb, body)
        except OSError as error:
            print(f"{verb}: {error}; again in {pause} s", file=sys.stderr)
            time.sleep(pause)
            pause = min(2 * pause, 8)
    return None


class Job(threading.Thread):
    """One attempt of a task. Its handler is to end soon after `stop` is set, by an exception."""

    def __init__(self, lease):
        super().__init__(daemon=True)
        self.token, self.task = lease["token"], lease["task"]
        self.until = time.monotonic() + LEASE - MARGIN
        self.progress, self.asked, self.stop = "", "", threading.Event()

    def payload(self):
        return json.loads(self.task["payload"]["text"])

    def ask(self, what):
        self.asked = self.asked or what
        self.stop.set()

    def run(self):
        try:
            end = {"outcome": "complete", "result": HANDLERS[self.task["kind"]](self)}
        except Exception as error:
            failure = {"outcome": "retry", "error": {"type": type(error).__name__, "message": str(error)}}
            end = ENDS.get(self.asked, failure)
        try:
            patiently("report", {"items": [{"token": self.token, **end}]}, lambda: self.asked != "lease_lost")
        finally:
            del running[self.token]
            freed.set()


def beat():
    """Renews all leases. Answers what is asked of the worker itself."""
    jobs, sent = list(running.values()), time.monotonic()
    items = [{"token": job.token, "progress": job.progress} for job in jobs]
    try:
        answer = call("renew", {"worker": WORKER, "items": items})
    except OSError as error:
        print(f"renew: {error}", file=sys.stderr)
        for job in jobs:
            if time.monotonic() > job.until:
                job.ask("lease_lost")
        return "none"
    for job, item in zip(jobs, answer["items"]):
        job.until = sent + LEASE - MARGIN
        if asked := item.get("code") or item["signal"].removeprefix("none"):
            job.ask(asked)
    return answer["worker"]["signal"]


def claim():
    while not stopping.is_set():
        freed.clear()
        room = WORKER["slots"] - len(running)
        if room == 0:
            freed.wait(1)
            continue
        answer = patiently("claim", {"worker": WORKER, "limit": room, "wait": "3s"}, lambda: not stopping.is_set())
        for lease in answer["leases"] if answer else []:
            running[lease["token"]] = job = Job(lease)
            job.start()


def drain(seconds):
    end = time.monotonic() + seconds
    while running and time.monotonic() < end:
        beat()
        freed.wait(1)


def main():
    signals = {signal.SIGINT, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)  # They are taken below, between two beats.
    claimer = threading.Thread(target=claim, daemon=True)
    claimer.start()
    while claimer.is_alive() and not signal.sigtimedwait(signals, BEAT) and beat() != "stop":
        pass
    stopping.set()
    claimer.join(10)  # What it still gets is run, or given back.
    drain(GRACE)
    for job in list(running.values()):
        job.ask("release")
    drain(MARGIN)
    if left := [{"token": token, "outcome": "release"} for token in list(running)]:
        call("report", {"items": left})


if __name__ == "__main__":
    main()
