"""streaQ with 64 tasks at once, as in its own benchmark."""

import json
import sys
import time

import anyio
from streaq import Worker
from tally import Tally

PAYLOAD = "x" * 100


def made(url: str, tally: Tally | None = None) -> tuple[Worker, object]:
    worker = Worker(redis_url=url, concurrency=64, anyio_kwargs={"use_uvloop": True})

    @worker.task(name="noop")
    async def noop(payload: str) -> None:
        if tally is not None:
            tally.tick()

    return worker, noop


async def enqueue(url: str, n: int) -> dict[str, float]:
    worker, noop = made(url)
    async with worker:
        began, cpu = time.perf_counter(), time.process_time()
        for start in range(0, n, 1000):
            await worker.enqueue_many([noop.enqueue(PAYLOAD) for _ in range(min(1000, n - start))])
        return {"s": time.perf_counter() - began, "cpu_s": time.process_time() - cpu}


async def round_trips(url: str, n: int) -> dict[str, list[float]]:
    worker, noop = made(url)
    took = []
    async with worker:
        for _ in range(n):
            began = time.perf_counter()
            await (await noop.enqueue(PAYLOAD)).result(timeout=5)
            took.append((time.perf_counter() - began) * 1000)
    return {"ms": took}


def main() -> None:
    command, url, n, *rest = sys.argv[1:]
    if command == "work":
        made(url, Tally(rest[0], int(n)))[0].run_sync()
        return
    function = {"enqueue": enqueue, "round_trips": round_trips}[command]
    print(json.dumps(anyio.run(function, url, int(n), backend_options={"use_uvloop": True})))


if __name__ == "__main__":
    main()
