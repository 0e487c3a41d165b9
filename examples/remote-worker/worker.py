"""A worker for Tidemill over HTTP: a handler for each kind, a thread for each task. README.md says how to run it."""
import json, os, signal, sys, threading, time, types, urllib.request

SERVER = os.environ.get("TIDEMILL_SERVER", "http://127.0.0.1:8470")
HEADERS = {"Content-Type": "application/json", "Authorization": f"Bearer {os.environ.get('TIDEMILL_TOKEN', '')}"}
WORKER = {"id": f"py-{os.uname().nodename}-{os.getpid()}", "slots": 4}
# What becomes of an attempt that was told to stop; any other has failed.
ENDS = {"cancel": {"outcome": "archive", "error": "cancelled"}, "hold": {"outcome": "hold"},
        "release": {"outcome": "release"}}
running, stopping = {}, threading.Event()  # Jobs, by the tokens of their leases.

def greet(job, payload):
    return {"text": "hello " + payload["name"]}

def nap(job, payload):
    for second in range(payload["seconds"]):
        job.progress = f"{second} s"
        if job.stop.wait(1):
            raise InterruptedError(job.asked)
HANDLERS = {"greet": greet, "nap": nap}

def call(verb, body):
    """Tries again while the server is away or has no ear for us, unless we stop; raises what is wrong with a report."""
    request = urllib.request.Request(f"{SERVER}/api/v1/{verb}", json.dumps(body).encode(), HEADERS)
    while True:
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return json.load(answer)
        except OSError as error:
            if stopping.is_set() or verb == "report" and getattr(error, "code", 500) in range(400, 429):
                raise
            print(f"{verb}: {error}; again in 1 s", file=sys.stderr)
            stopping.wait(1)

def run(job):
    try:
        end = {"outcome": "complete", "result": HANDLERS[job.kind](job, json.loads(job.payload))}
    except Exception as error:
        end = ENDS.get(job.asked, {"outcome": "retry", "error": f"{type(error).__name__}: {error}"})
    try:
        if job.asked != "lease_lost":  # Else another worker has it, or will.
            call("report", {"items": [{"token": job.token, **end}]})
    finally:
        del running[job.token]

def renew():
    while not time.sleep(8):  # A lease lasts 25 s.
        jobs = list(running.values())
        items = [{"token": job.token, "progress": job.progress} for job in jobs]
        for job, item in zip(jobs, call("renew", {"worker": WORKER, "items": items})["items"]):
            if (asked := item.get("code") or item["signal"]) != "none":
                job.asked = asked
                job.stop.set()

def claim():
    while not stopping.wait(0.02):
        if (room := WORKER["slots"] - len(running)) > 0:
            for lease in call("claim", {"worker": WORKER, "limit": room, "wait": "3s"})["leases"]:
                job = types.SimpleNamespace(token=lease["token"], kind=lease["task"]["kind"], asked="", progress="",
                                            payload=lease["task"]["payload"].get("text", ""), stop=threading.Event())
                running[job.token] = job
                threading.Thread(target=run, args=[job], daemon=True).start()

def drain(end):
    while running and time.monotonic() < end:
        time.sleep(0.02)

if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, ended := {signal.SIGINT, signal.SIGTERM})
    threading.Thread(target=renew, daemon=True).start()
    (claimer := threading.Thread(target=claim, daemon=True)).start()
    signal.sigwait(ended)
    stopping.set()
    claimer.join()  # What it still gets is run, or given back.
    drain(time.monotonic() + float(os.environ.get("TIDEMILL_GRACE", "10")))
    for job in list(running.values()):
        job.asked = "release"
        job.stop.set()
    drain(time.monotonic() + 2)  # What has not ended by now runs again when its lease has run out.
