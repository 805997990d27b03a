"""A queue and its workers at the level of the protocol: claims without a runtime, for tests of
single scripts."""

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
from shared_schemas.codec import encoded
from shared_schemas.errors import ErrorInfo
from shared_schemas.events import JobEvent
from shared_schemas.ids import JobId, QueueName
from shared_schemas.outcome import Cancellation, Failure, Outcome, Release, Retry, Success
from shared_schemas.stream.attempt_writer import AttemptWriter, Batch, Settlement
from shared_schemas.stream.claims import Claim, Claims
from shared_schemas.stream.connection import connect, connect_for_thread, connect_one
from shared_schemas.stream.dead_letters import DeadLetters
from shared_schemas.stream.leases import Leases
from shared_schemas.stream.recovery import Recovery, SilentJob
from shared_schemas.stream.redis_settings import RedisSettings
from shared_schemas.stream.registry import ModelRegistry
from shared_schemas.stream.schedule import Schedule

from tests.support import stored
from tests.support.workers import INFERENCE, Bench

LEASE_S = 10.0
BAD = ErrorInfo(code="bad", message="bad")


def success(value: object = None) -> Success:
    return Success(msgspec.Raw(msgspec.json.encode(value)), "digest")


OUTCOMES: dict[str, Outcome] = {
    "success": success(1),
    "failure": Failure(BAD),
    "retry": Retry(BAD, 0.0),
    "release": Release(),
    "cancellation": Cancellation(),
}


class QueueBench(Bench):
    """Workers have names. A worker is made when its name is first used."""

    def __init__(self, client: object, reader: object, url: str, queue: QueueName) -> None:
        super().__init__(client)
        self._reader, self._url, self.queue = reader, url, queue
        self.writer = AttemptWriter(self.nodes, queue)
        self.schedule, self.recovery = Schedule(self.nodes, queue), Recovery(self.nodes, queue)
        self.registry = ModelRegistry(self.nodes)
        self.dead_letters = DeadLetters(self.nodes)
        self._claims: dict[str, Claims] = {}

    async def worker(self, name: str, *, capacity: int = 1) -> Claims:
        if name not in self._claims:
            self._claims[name] = Claims(
                self.nodes, self._reader, self.queue, worker=name, lease_s=LEASE_S, capacity=capacity
            )
            await self._claims[name].open()
        return self._claims[name]

    async def claim(self, worker: str = "a", slots: int = 10) -> list[Claim]:
        return await (await self.worker(worker)).claim(slots, token=secrets.token_hex(4))

    async def record(self, claim: Claim, *events: JobEvent, first: int = 0) -> bool:
        [held] = await self.writer.record([Batch(claim, first, [*map(encoded, events)])])
        return held

    async def settle(self, claim: Claim, outcome: Outcome, *events: JobEvent, first: int = 0) -> bool:
        settlement = Settlement(Batch(claim, first, [*map(encoded, events)]), outcome)
        [accepted] = await self.writer.settle([settlement])
        return accepted

    async def lose(self, claim: Claim) -> str:
        """Reclaim the job of the claim, as happens when its worker has been silent long enough. ->
        the answer"""
        fields = await stored.fields(self.client, claim.job_id)
        fence, beat = fields.get("fence", b"").decode(), int(fields.get("beat", 0))
        [answer] = await self.recovery.reclaim([SilentJob(claim.job_id, fence, beat)])
        return answer

    def leases(self, worker: str = "a") -> Leases:
        settings = RedisSettings(redis_url=self._url)
        return Leases(connect_for_thread(settings), self.queue, worker=worker, lease_s=LEASE_S)

    async def fields(self, job_id: JobId) -> dict[str, str]:
        return {name: value.decode() for name, value in (await stored.fields(self.client, job_id)).items()}

    async def listings(self, job_id: JobId) -> list[str]:
        """The listings that contain the job. There must be one."""
        found = []
        async for name in self.client.scan_iter(match=f"{{hr:{self.queue}}}:listing:*"):
            if await self.client.zscore(name, job_id) is not None:
                found.append(name.decode().split("listing:")[1])
        return found

    async def pending(self) -> int:
        """How many entries are delivered and not acknowledged, over all lanes."""
        total = 0
        for lane in ("alone", "front", "high", "normal", "low"):
            total += (await self.client.xpending(f"{{hr:{self.queue}}}:ready:{lane}", "workers"))["pending"]
        return total


@asynccontextmanager
async def queue_bench(redis_url: str, queue: QueueName = INFERENCE) -> AsyncIterator[QueueBench]:
    settings = RedisSettings(redis_url=redis_url)
    client, reader = connect(settings), connect_one(settings, retries=0)
    try:
        side = QueueBench(client, reader, redis_url, queue)
        await side.worker("a")
        yield side
    finally:
        await client.aclose()
        await reader.aclose()
