"""taskiq on Redis Streams, with results: one worker, 100 tasks at once, 100 prefetched, orjson."""

import asyncio
import json
import sys
import time

import uvloop
from tally import Tally
from taskiq.api import run_receiver_task
from taskiq.serializers import ORJSONSerializer
from taskiq_redis import RedisAsyncResultBackend, RedisStreamBroker

PAYLOAD = "x" * 100


def made(url: str, tally: Tally | None = None) -> tuple[RedisStreamBroker, object]:
    results = RedisAsyncResultBackend(redis_url=url, result_ex_time=3600, serializer=ORJSONSerializer())
    broker = RedisStreamBroker(url=url, consumer_id="0", xread_count=100).with_result_backend(results)
    broker = broker.with_serializer(ORJSONSerializer())

    @broker.task(task_name="noop")
    async def noop(payload: str) -> None:
        if tally is not None:
            tally.tick()

    return broker, noop


async def enqueue(url: str, n: int) -> dict[str, float]:
    broker, noop = made(url)
    await broker.startup()
    began, cpu = time.perf_counter(), time.process_time()
    for start in range(0, n, 100):
        await asyncio.gather(*(noop.kiq(PAYLOAD) for _ in range(min(100, n - start))))
    took = {"s": time.perf_counter() - began, "cpu_s": time.process_time() - cpu}
    await broker.shutdown()
    return took


async def work(url: str, n: int, file: str) -> None:
    broker, _ = made(url, Tally(file, n))
    broker.is_worker_process = True
    await run_receiver_task(broker, run_startup=True, max_async_tasks=100, max_prefetch=100)


async def round_trips(url: str, n: int) -> dict[str, list[float]]:
    broker, noop = made(url)
    await broker.startup()
    took = []
    for _ in range(n):
        began = time.perf_counter()
        # It polls. The default interval of 200 ms would hide everything else.
        await (await noop.kiq(PAYLOAD)).wait_result(check_interval=0.0005)
        took.append((time.perf_counter() - began) * 1000)
    await broker.shutdown()
    return {"ms": took}


def main() -> None:
    command, url, n, *rest = sys.argv[1:]
    function = {"enqueue": enqueue, "work": work, "round_trips": round_trips}[command]
    print(json.dumps(uvloop.run(function(url, int(n), *rest))))


if __name__ == "__main__":
    main()
