"""A worker on plain redis-py. It "trains" by counting the letters of data_path, and follows
requests to cancel and to pause.

    python -m shared_schemas.stream.bundle > bundle.json
    python docs/examples/worker.py bundle.json redis://127.0.0.1:6379/0 training-example

docs/protocol.md explains each step. Any error ends the worker. Another worker gets its job when the
lease has run out.
"""

import json
import os
import sys
import threading
import time
from pathlib import Path

import redis
from protocol import LATE, Queue, body

NAME, LEASE_MS = f"example-{os.urandom(4).hex()}", int(os.environ.get("LEASE_MS", "15000"))
QUEUE = Queue(redis.Redis.from_url(sys.argv[2], protocol=2), json.loads(Path(sys.argv[1]).read_text()), sys.argv[3])
FACTS = {"host": os.uname().nodename, "pid": str(os.getpid()), "slots": "1", "started": str(round(time.time() * 1000))}
HELD = [1, 0, 0]
running: list[dict[str, str]] = []  # the running job, in the form that `renew` takes
asked = HELD[:]  # for the running job: is it still ours, is it to be cancelled, is it to be paused


def keep_lease() -> None:
    try:
        while True:
            jobs = " ".join(item["id"] for item in running)
            facts = FACTS | {"state": "running", "jobs": jobs, "facts": "{}"}
            flat = [part for fact in facts.items() for part in fact]
            arguments = {"worker": NAME, "lease_ms": LEASE_MS, "items": running[:], "facts": flat}
            for item, answer in zip(arguments["items"], QUEUE.call("renew", arguments), strict=True):
                asked[:] = answer if [item] == running else asked
            QUEUE.declare()
            time.sleep(LEASE_MS / 3000)
    finally:
        os._exit(1)


def claim(entries: list[list[str]]) -> list[list[bytes]]:
    arguments = {"worker": NAME, "is_busy": False, "held": {}, "lanes": QUEUE.bundle["lanes"][1:], "slots": 1}
    arguments |= {"capacity": 1, "lease_ms": LEASE_MS, "version": QUEUE.bundle["version"], "entries": entries}
    arguments |= {"token": os.urandom(8).hex(), "running": QUEUE.transition("claimed", worker=NAME)}
    ends = {"expired": QUEUE.transition("failed", error=LATE), "released": QUEUE.transition("released")}
    return QUEUE.call("claim", arguments, QUEUE.requested() | ends)[0]


def run(job_id: str, fence: str, text: str) -> None:
    item, n = {"id": job_id, "fence": fence}, 0
    asked[:], running[:] = HELD, [item]
    while n < len(text) and asked == HELD:
        time.sleep(0.1)
        event = body("progress", fraction=(n + 1) / len(text), step=n + 1, total=len(text))
        if QUEUE.call("record", {"items": [item | {"first": n, "events": [["progress", event, "progress"]]}]}):
            break  # another attempt owns the job
        n += 1
    result = {"letters": n} if asked == HELD else None
    reason = "succeeded" if result else "cancelled" if asked[1] else "released"
    row = QUEUE.transition(reason, **({"result": result} if result else {}))
    end = [
        "enqueue" if reason == "released" else "finish",
        reason,
        row.pop("body"),
        None,
        result and json.dumps(result),
    ]
    settled = [job_id, fence, n, [], *end, None, None, None]
    QUEUE.call("settle", {"items": [settled], "rows": {reason: row}}, QUEUE.requested())
    running.clear()


QUEUE.open()
threading.Thread(target=keep_lease, daemon=True).start()
entries: list[list[str]] = []
seen: dict[object, float] = {}
while True:
    seen = QUEUE.reclaim(seen, LEASE_MS)
    for job_id, packed, spec, _ in claim(entries):
        run(job_id.decode(), QUEUE.stored_job(packed)["fence"], json.loads(spec)["data_path"])
    entries = QUEUE.wait(NAME, min(1000, LEASE_MS // 3))
