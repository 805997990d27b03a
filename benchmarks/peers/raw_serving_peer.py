"""A loop over redis-py that runs the model on whatever waits, at most 32 rows, and answers. It
promises nothing: no lease, retry, timeline or result that can be asked for later.

raw_serving_peer.py work URL MODEL THREADS COUNTS
raw_serving_peer.py ask URL SECONDS CALLERS    each caller waits for its answer and asks again;
                                               prints {"s": seconds, "ms": [latency, …]}
"""

import asyncio
import json
import os
import struct
import sys
import time

import numpy as np
import redis.asyncio
import uvloop
from counted_model import CountedModel
from redis.exceptions import ResponseError

STREAM, GROUP = "raw:rows", "raw"
MAX_BATCH = 32
ROW = np.linspace(-1.0, 1.0, 64, dtype=np.float32).tobytes()
ANSWER = struct.Struct("<qf")


async def work(url: str, file: str, threads: str, counts: str) -> None:
    model = CountedModel(file, int(threads), counts)
    client = redis.asyncio.Redis.from_url(url, protocol=2, socket_timeout=None)
    try:
        await client.xgroup_create(STREAM, GROUP, id="0", mkstream=True)
    except ResponseError as error:
        if not str(error).startswith("BUSYGROUP"):
            raise
    while True:
        reply = await client.xreadgroup(GROUP, "w", {STREAM: ">"}, count=MAX_BATCH, block=1000)
        if not reply:
            continue
        [[_, entries]] = reply
        rows = np.frombuffer(b"".join(fields[b"row"] for _, fields in entries), dtype=np.float32)
        predictions = await asyncio.to_thread(model, rows.reshape(len(entries), -1))
        answers = dict[bytes, bytes]()
        for (_, fields), prediction in zip(entries, predictions, strict=True):
            packed = ANSWER.pack(int(fields[b"n"]), prediction)
            answers[fields[b"to"]] = answers.get(fields[b"to"], b"") + packed
        ids = [entry for entry, _ in entries]
        pipeline = client.pipeline(transaction=False)
        pipeline.xack(STREAM, GROUP, *ids)
        pipeline.xdel(STREAM, *ids)
        for to, packed in answers.items():
            pipeline.xadd(to, {"answers": packed}, maxlen=1000)
        await pipeline.execute()


class Caller:
    """Collects what is asked in one turn of the loop into one pipeline."""

    def __init__(self, client: "redis.asyncio.Redis[bytes]") -> None:
        self._client, self._to = client, f"raw:to:{os.getpid()}"
        self._asked: dict[int, asyncio.Future[float]] = {}
        self._unsent = list[int]()
        self._n = 0
        self._wake = asyncio.Event()

    async def ask(self) -> float:
        self._n += 1
        self._asked[self._n] = answer = asyncio.get_running_loop().create_future()
        self._unsent.append(self._n)
        self._wake.set()
        return await answer

    async def send(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            pipeline, unsent, self._unsent = self._client.pipeline(transaction=False), self._unsent, []
            for n in unsent:
                pipeline.xadd(STREAM, {"to": self._to, "n": n, "row": ROW})
            await pipeline.execute()

    async def receive(self) -> None:
        last = b"0"
        while True:
            for _, entries in await self._client.xread({self._to: last}, block=1000) or ():
                last = entries[-1][0]
                for _, fields in entries:
                    for n, prediction in ANSWER.iter_unpack(fields[b"answers"]):
                        self._asked.pop(n).set_result(prediction)


async def ask(url: str, seconds: str, callers: str) -> None:
    client = redis.asyncio.Redis.from_url(url, protocol=2, socket_timeout=None)
    caller, took = Caller(client), list[float]()
    began = time.perf_counter()

    async def ask_until_the_end() -> None:
        while (now := time.perf_counter()) - began < float(seconds):
            await caller.ask()
            took.append((time.perf_counter() - now) * 1000)

    loops = [asyncio.create_task(caller.send()), asyncio.create_task(caller.receive())]
    await asyncio.gather(*(ask_until_the_end() for _ in range(int(callers))))
    ended = time.perf_counter()
    for loop in loops:
        loop.cancel()
    print(json.dumps({"s": ended - began, "ms": took}))


def main() -> None:
    command, *rest = sys.argv[1:]
    uvloop.run({"work": work, "ask": ask}[command](*rest))


if __name__ == "__main__":
    main()
