"""Real workers in the test's own process, with handlers that run a function of the test."""

import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import anyio
import msgspec
from shared_schemas.codec import decode_event
from shared_schemas.errors import BackendUnavailable
from shared_schemas.events import Done, JobEvent
from shared_schemas.ids import JobId, QueueName, default_queue, new_job_id
from shared_schemas.job import Job, JobState
from shared_schemas.kinds import JobKind
from shared_schemas.lifecycle import fold, submitted
from shared_schemas.outcome import Release, Success
from shared_schemas.specs import InferenceSpec, JobSpec
from shared_schemas.stream import keys
from shared_schemas.stream.change_log import ChangeLog
from shared_schemas.stream.connection import AsyncRedis, connect
from shared_schemas.stream.control import JobControl
from shared_schemas.stream.jobs import Jobs
from shared_schemas.stream.nodes import Nodes
from shared_schemas.stream.pubsub import PubSubConnection
from shared_schemas.stream.queue_queries import QueueQueries
from shared_schemas.stream.queues import Queues
from shared_schemas.stream.redis_settings import RedisSettings
from shared_schemas.stream.submission import Submission, Submitter
from shared_schemas.stream.timeline import Timeline
from shared_schemas.stream.workers import Workers
from worker_runtime import Attempt, RuntimeSettings, Worker

INFERENCE = default_queue(JobKind.INFERENCE)
Script = Callable[[Attempt], Awaitable[Success | Release]]


def success(value: object = None) -> Success:
    return Success(msgspec.Raw(msgspec.json.encode(value)))


class ScriptedHandler:
    """Runs `script` for each attempt, and keeps the attempts and how many ran at the same time."""

    kind = JobKind.INFERENCE

    def __init__(self, script: Script) -> None:
        self._script = script
        self.attempts: list[Attempt] = []
        self.at_once = 0
        self.most_at_once = 0

    def describe(self) -> dict[str, str]:
        return {"device": "test"}

    async def run(self, attempt: Attempt) -> Success | Release:
        self.attempts.append(attempt)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            return await self._script(attempt)
        finally:
            self.at_once -= 1


@asynccontextmanager
async def running_worker(
    redis_url: str,
    handler: ScriptedHandler,
    *,
    slots: int = 4,
    lease_s: float = 1.0,
    drain_grace_s: float = 2.0,
    redis_connections: int = 64,
) -> AsyncIterator[Worker]:
    settings = RuntimeSettings(
        redis_url=redis_url,
        slots=slots,
        lease_s=lease_s,
        drain_grace_s=drain_grace_s,
        redis_timeout_s=3.0,
        redis_connections=redis_connections,
    )
    worker = Worker(settings, handler)
    async with anyio.create_task_group() as group:

        async def run() -> None:
            await worker.run(handle_signals=False)

        group.start_soon(run)
        try:
            yield worker
        finally:
            worker.drain()
            worker.drain()


def a_submission(
    spec: JobSpec | None = None, *, queue: QueueName = INFERENCE, replay_of: JobId | None = None, **options: object
) -> Submission:
    """options: fields of an inference job, if no spec is given."""
    job_id = new_job_id(queue, now_ms=time.time_ns() // 1_000_000, entropy=os.urandom(10))
    spec = spec or InferenceSpec(**{"model_id": "m", "input_data": "x", **options})  # type: ignore[arg-type]
    return Submission(job_id=job_id, spec=spec, replay_of=replay_of)


async def until_blocked(client: AsyncRedis) -> None:
    """Wait until a client waits in a blocking command."""
    with anyio.fail_after(10):
        while not (await client.info("clients"))["blocked_clients"]:  # noqa: ASYNC110 - nothing announces it
            await anyio.sleep(0.01)


class Bench:
    """A submitter and reader of jobs, for a test of workers."""

    def __init__(self, client: AsyncRedis) -> None:
        self.client, self.nodes = client, Nodes(client)
        self.submitter, self.jobs, self.control = Submitter(self.nodes), Jobs(self.nodes), JobControl(self.nodes)
        self.timeline, self.change_log = Timeline(self.nodes), ChangeLog(self.nodes)
        self.catalog, self.workers = Queues(self.nodes), Workers(self.nodes)
        self.queue_queries = QueueQueries(self.nodes, self.catalog)

    async def submit(self, spec: JobSpec | None = None, *, queue: QueueName = INFERENCE, **options: Any) -> JobId:
        return (await self.submitter.submit(a_submission(spec, queue=queue, **options))).job_id

    async def events(self, job_id: JobId) -> list[JobEvent]:
        entries, after = [], 0
        while page := await self.timeline.read(job_id, after=after):
            entries += page
            after = page[-1].n
        return [decode_event(entry.data) for entry in entries]  # type: ignore[misc]

    async def until(
        self, job_id: JobId, found: Callable[[JobEvent], bool], *, after: int = 0, deadline_s: float = 20.0
    ) -> JobEvent:
        """Wait for the first event after number `after` for which `found` is true."""
        with anyio.fail_after(deadline_s):
            while True:
                try:
                    async with PubSubConnection(self.client) as pubsub:
                        await pubsub.subscribe(keys.job_channel(job_id))
                        # The first message confirms the subscription.
                        async for _ in pubsub.messages():
                            event, after = await self._find(job_id, found, after)
                            if event is not None:
                                return event
                except BackendUnavailable:
                    # What a test does to Redis also happens to this connection. A server that is out of connections
                    # still answers on the open ones.
                    with suppress(BackendUnavailable):
                        event, after = await self._find(job_id, found, after)
                        if event is not None:
                            return event
                    await anyio.sleep(0.05)

    async def _find(self, job_id: JobId, found: Callable[[JobEvent], bool], after: int) -> tuple[JobEvent | None, int]:
        """-> (the first event after number `after` for which `found` is true, the number of the
        last event that was read)"""
        for entry in await self.timeline.read(job_id, after=after):
            event, after = decode_event(entry.data), entry.n
            if found(event):  # type: ignore[arg-type]
                return event, after  # type: ignore[return-value]
        return None, after

    async def done(self, job_id: JobId, *, deadline_s: float = 20.0) -> Job:
        await self.until(job_id, lambda event: isinstance(event, Done), deadline_s=deadline_s)
        return await self.folded(job_id)

    async def folded(self, job_id: JobId) -> Job:
        """The job. Asserts that its hash and its timeline agree."""
        job, events = await self.jobs.find(job_id), await self.events(job_id)
        folded = fold(submitted(job_id, job.spec, replay_of=job.replay_of, retry_of=job.retry_of), events)
        assert folded == job
        assert [event.n for event in events] == list(range(1, len(events) + 1))
        assert sum(isinstance(event, Done) for event in events) == (1 if job.state.is_terminal else 0)
        return job

    async def until_workers(self, count: int, queue: QueueName = INFERENCE, *, deadline_s: float = 20.0) -> None:
        with anyio.fail_after(deadline_s):
            while len(await self.workers.registered(queue)) < count:  # noqa: ASYNC110 - no event tells of it
                await anyio.sleep(0.05)

    async def until_state(self, job_id: JobId, state: JobState, *, deadline_s: float = 20.0) -> None:
        await self.until(job_id, lambda event: getattr(event, "state", None) is state, deadline_s=deadline_s)


@asynccontextmanager
async def bench(redis_url: str) -> AsyncIterator[Bench]:
    client = connect(RedisSettings(redis_url=redis_url))
    try:
        yield Bench(client)
    finally:
        await client.aclose()
