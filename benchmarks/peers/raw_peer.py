"""The limit: a loop over redis-py that stores a result and acknowledges, and promises nothing else."""

import json
import sys
import time

import anyio
import redis.asyncio
from redis.exceptions import ResponseError
from tally import Tally

STREAM, GROUP, REPLIES = "raw:jobs", "raw", "raw:replies"
PAYLOAD = b"x" * 100
COUNT = 100


async def opened(url: str) -> "redis.asyncio.Redis[bytes]":
    client = redis.asyncio.Redis.from_url(url, protocol=2)
    try:
        await client.xgroup_create(STREAM, GROUP, id="0", mkstream=True)
    except ResponseError as error:
        if not str(error).startswith("BUSYGROUP"):
            raise
    return client


async def enqueue(url: str, n: int) -> dict[str, float]:
    client = await opened(url)
    began, cpu = time.perf_counter(), time.process_time()
    for start in range(0, n, 1000):
        pipeline = client.pipeline(transaction=False)
        for _ in range(min(1000, n - start)):
            pipeline.xadd(STREAM, {"d": PAYLOAD})
        await pipeline.execute()
    return {"s": time.perf_counter() - began, "cpu_s": time.process_time() - cpu}


async def work(url: str, n: int, file: str) -> None:
    """For each job one SET and one XDEL, one XACK for all, and one XADD to the waiting client if
    the job asks for it."""
    client, tally = await opened(url), Tally(file, n)
    while True:
        reply = await client.xreadgroup(GROUP, "w", {STREAM: ">"}, count=COUNT, block=1000)
        if not reply:
            continue
        [[_, entries]] = reply
        pipeline = client.pipeline(transaction=False)
        pipeline.xack(STREAM, GROUP, *(entry for entry, _ in entries))
        for entry, fields in entries:
            tally.tick()
            pipeline.set(b"raw:result:" + entry, b"null", ex=3600)
            if b"reply" in fields:
                pipeline.xadd(REPLIES, {"of": entry})
            pipeline.xdel(STREAM, entry)
        await pipeline.execute()


async def round_trips(url: str, n: int) -> dict[str, list[float]]:
    client, took, last = await opened(url), list[float](), "$"
    await client.xadd(REPLIES, {"of": "none"})
    last = (await client.xrevrange(REPLIES, count=1))[0][0]
    for _ in range(n):
        began = time.perf_counter()
        await client.xadd(STREAM, {"d": PAYLOAD, "reply": 1})
        [[_, [(last, _)]]] = await client.xread({REPLIES: last}, block=5000)
        took.append((time.perf_counter() - began) * 1000)
    return {"ms": took}


def main() -> None:
    command, url, n, *rest = sys.argv[1:]
    function = {"enqueue": enqueue, "work": work, "round_trips": round_trips}[command]
    print(json.dumps(anyio.run(function, url, int(n), *rest, backend_options={"use_uvloop": True})))


if __name__ == "__main__":
    main()
