"""Headrace: the whole worker runtime with a handler that does nothing, and the stream layer of the
gateway."""

import os
import sys
import time

import anyio
import msgspec
from shared_schemas.ids import default_queue, new_job_id
from shared_schemas.kinds import JobKind
from shared_schemas.outcome import Success
from shared_schemas.specs import InferenceSpec
from shared_schemas.stream import keys
from shared_schemas.stream.connection import connect, connect_one
from shared_schemas.stream.nodes import Nodes
from shared_schemas.stream.pubsub import PubSubConnection
from shared_schemas.stream.redis_settings import RedisSettings
from shared_schemas.stream.submission import Submission, Submitter
from shared_schemas.stream.timeline import entries_in_notification
from tally import Tally
from worker_runtime import Attempt, RuntimeSettings, configure_logs, run_worker

QUEUE = default_queue(JobKind.INFERENCE)
SLOTS = 256
AT_ONCE = 500
PAYLOAD = "x" * 100


def a_submission() -> Submission:
    job_id = new_job_id(QUEUE, now_ms=time.time_ns() // 1_000_000, entropy=os.urandom(10))
    return Submission(job_id=job_id, spec=InferenceSpec(model_id="noop@1", input_data=PAYLOAD))


async def enqueue(url: str, n: int) -> dict[str, float]:
    submitter = Submitter(Nodes(connect(RedisSettings(redis_url=url))))
    began, cpu = time.perf_counter(), time.process_time()
    async with anyio.create_task_group() as group:
        slots = anyio.CapacityLimiter(2)

        async def submit(count: int) -> None:
            async with slots:
                await submitter.submit_all(QUEUE, [a_submission() for _ in range(count)])

        for start in range(0, n, AT_ONCE):
            group.start_soon(submit, min(AT_ONCE, n - start))
    return {"s": time.perf_counter() - began, "cpu_s": time.process_time() - cpu}


class Noop:
    kind = JobKind.INFERENCE

    def __init__(self, tally: Tally) -> None:
        self._tally = tally

    def describe(self) -> dict[str, str]:
        return {}

    async def run(self, _: Attempt) -> Success:
        self._tally.tick()
        return Success(msgspec.Raw(b"null"))


def work(url: str, n: int, file: str) -> None:
    configure_logs("json")
    run_worker(RuntimeSettings(redis_url=url, slots=SLOTS), Noop(Tally(file, n)))


async def round_trips(url: str, n: int) -> dict[str, list[float]]:
    """Submit and wait as the gateway does: it subscribes before it stores the job, over one
    connection, and waits for the notification."""
    settings = RedisSettings(redis_url=url)
    client, dedicated = connect(settings), connect_one(settings)
    submitter, took = Submitter(Nodes(dedicated)), list[float]()
    async with client, dedicated, PubSubConnection(client) as pubsub:
        messages = pubsub.messages()
        for _ in range(n):
            submission = a_submission()
            channel = keys.job_channel(submission.job_id)
            await pubsub.subscribe(channel)
            await anext(messages)
            began = time.perf_counter()
            await submitter.submit(submission)
            async for _, payload in messages:
                if payload is not None and entries_in_notification(payload)[-1].event == "done":
                    break
            took.append((time.perf_counter() - began) * 1000)
            await pubsub.unsubscribe(channel)
    return {"ms": took}


def main() -> None:
    command, url, n, *rest = sys.argv[1:]
    if command == "work":
        work(url, int(n), *rest)
        return
    function = {"enqueue": enqueue, "round_trips": round_trips}[command]
    print(msgspec.json.encode(anyio.run(function, url, int(n), backend_options={"use_uvloop": True})).decode())


if __name__ == "__main__":
    main()
