# /// script
# requires-python = ">=3.11"
# dependencies = ["saq[redis]==0.26.4", "typing-extensions", "uvloop>=0.22"]
# ///
"""SAQ with 100 jobs at once. It pins an older redis-py than Headrace, so it runs in an environment
of its own."""

import asyncio
import json
import sys
import time

import uvloop
from saq import Queue, Worker
from tally import Tally

PAYLOAD = "x" * 100


async def enqueue(url: str, n: int) -> dict[str, float]:
    queue = Queue.from_url(url)
    await queue.connect()
    began, cpu = time.perf_counter(), time.process_time()
    for start in range(0, n, 100):
        await asyncio.gather(*(queue.enqueue("noop", payload=PAYLOAD) for _ in range(min(100, n - start))))
    took = {"s": time.perf_counter() - began, "cpu_s": time.process_time() - cpu}
    await queue.disconnect()
    return took


async def work(url: str, n: int, file: str) -> None:
    tally = Tally(file, n)

    async def noop(_: object, *, payload: str) -> None:
        tally.tick()

    await Worker(Queue.from_url(url), [("noop", noop)], concurrency=100).start()


async def round_trips(url: str, n: int) -> dict[str, list[float]]:
    queue = Queue.from_url(url)
    await queue.connect()
    took = []
    for _ in range(n):
        began = time.perf_counter()
        # It polls. The default interval of half a second would hide everything else.
        await queue.apply("noop", poll_interval=0.001, payload=PAYLOAD)
        took.append((time.perf_counter() - began) * 1000)
    return {"ms": took}


def main() -> None:
    command, url, n, *rest = sys.argv[1:]
    function = {"enqueue": enqueue, "work": work, "round_trips": round_trips}[command]
    print(json.dumps(uvloop.run(function(url, int(n), *rest))))


if __name__ == "__main__":
    main()
