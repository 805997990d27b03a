"""Random damages to the data of a queue in Redis: stored jobs, timelines, indexes and streams.

Each damage is one command or two, such as a foreign script or a typing error would send.
`Damager.harmed` has the jobs whose own hash or timeline was damaged. The log of all jobs gets wrong
entries but is never deleted, because it is what still names the jobs of a lost index or stream.
"""

import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec
from redis.exceptions import ResponseError
from shared_schemas.ids import JobId
from shared_schemas.job import JobState
from shared_schemas.stream import keys
from shared_schemas.stream.connection import AsyncRedis
from shared_schemas.stream.keys import LANES
from shared_schemas.stream.packed_job import JOB_PARTS

from tests.support.workers import INFERENCE

TAG = keys.tag(INFERENCE)
READY = [keys.ready(INFERENCE, lane) for lane in LANES]
LISTINGS = [keys.listing(INFERENCE, state, lane) for state in JobState for lane in LANES]
DATES = [f"{TAG}{name}" for name in ("due", "waiting", "deadlines", "leases", "expiring")]
INDEXES = [*LISTINGS, *DATES, f"{TAG}dead", f"{TAG}dead:corrupt_record", f"{TAG}workers", keys.DECLARED]
LAST = f"{2**64 - 1}-{2**64 - 1}"
ODD: list[Any] = [
    "", "x", "\xff", "12", "queued", -1, 0, 1, 2, 1.5, 2**40, 2**63, -(2**63), float("nan"), float("inf"), True, False,
    None, [], [[[]]], {"a": 1}, "x" * 5000,
]  # fmt: skip
MEMBERS = [
    b"",
    b"\xff\xfe",
    b"x",
    b"inference",
    b"inference-",
    b"inference-" + b"z" * 26,
    b"training-" + b"0" * 26,
    b"x" * 3000,
]


class Damager:
    """jobs: returns the jobs from which one is chosen to be damaged."""

    def __init__(self, client: AsyncRedis, rng: random.Random, jobs: Callable[[], Sequence[JobId]]) -> None:
        self._client, self._rng, self._jobs = client, rng, jobs
        self.harmed: set[JobId] = set()
        self.done: list[str] = []
        self._kinds: list[Callable[[], Awaitable[None]]] = [
            self.part, self.part, self.byte, self.cut, self.noise, self.field, self.no_field, self.other_type,
            self.gone, self.timeline, self.entry_of_timeline,
            self.index_of_another_type, self.index_gone, self.member_gone, self.member_forged, self.member_of_a_job,
            self.stream_of_another_type, self.stream_gone, self.stream_trimmed, self.entry_gone, self.entry_forged,
            self.last_entry, self.group_gone, self.consumers_gone, self.log_entry,
        ]  # fmt: skip

    async def damage(self) -> None:
        kind = self._rng.choice(self._kinds)
        self.done.append(kind.__name__)
        try:
            await kind()
        except ResponseError as error:
            # An earlier damage is in the way.
            self.done[-1] += f" ({error})"

    def _job(self) -> JobId:
        job_id = self._rng.choice(self._jobs())
        self.harmed.add(job_id)
        return job_id

    def _bytes(self, most: int) -> bytes:
        return self._rng.randbytes(self._rng.randint(0, most))

    async def _change(self, job_id: JobId, change: Callable[[bytes], bytes]) -> None:
        packed = await self._client.hget(keys.job(job_id), "job")
        if packed:
            await self._client.hset(keys.job(job_id), "job", change(packed))

    # Stored jobs.

    async def part(self) -> None:
        def change(packed: bytes) -> bytes:
            try:
                parts = msgspec.msgpack.decode(packed)
                parts += [False] * (len(JOB_PARTS) - len(parts))
                parts[self._rng.randrange(len(JOB_PARTS))] = self._rng.choice(ODD)
            except (msgspec.DecodeError, ValueError, TypeError):
                return b""
            return msgspec.msgpack.encode(parts)

        await self._change(self._job(), change)

    async def byte(self) -> None:
        def change(packed: bytes) -> bytes:
            at = self._rng.randrange(len(packed))
            return packed[:at] + self._rng.randbytes(1) + packed[at + 1 :]

        await self._change(self._job(), change)

    async def cut(self) -> None:
        await self._change(self._job(), lambda packed: packed[: self._rng.randrange(len(packed))])

    async def noise(self) -> None:
        await self._change(self._job(), lambda _: self._bytes(300))

    async def field(self) -> None:
        name = self._rng.choice(
            ["spec", "error", "result", "digest", "progress", "metric:train", "checkpoint", "1", "2", "9"]
        )
        await self._client.hset(keys.job(self._job()), name, self._bytes(2000))

    async def no_field(self) -> None:
        await self._client.hdel(keys.job(self._job()), self._rng.choice(["job", "spec", "1", "2"]))

    async def other_type(self) -> None:
        await self._replace(keys.job(self._job()))

    async def gone(self) -> None:
        await self._client.delete(keys.job(self._job()))

    async def timeline(self) -> None:
        await self._replace(keys.events(self._job()))

    async def entry_of_timeline(self) -> None:
        entry = self._rng.choice([LAST, "*", "5-3"])
        await self._client.xadd(keys.events(self._job()), {self._bytes(9): self._bytes(9)}, id=entry)

    # Indexes.

    async def index_of_another_type(self) -> None:
        await self._replace(self._rng.choice(INDEXES))

    async def index_gone(self) -> None:
        await self._client.delete(self._rng.choice(INDEXES))

    async def member_gone(self) -> None:
        await self._client.zremrangebyrank(self._rng.choice(INDEXES), 0, 0)

    async def member_forged(self) -> None:
        member, score = self._rng.choice(MEMBERS), self._rng.choice([0, 1, -1e300, 1e300, float("-inf"), float("inf")])
        await self._client.zadd(self._rng.choice(INDEXES), {member: score})

    async def member_of_a_job(self) -> None:
        index = self._rng.choice([*LISTINGS, *DATES])
        await self._client.zadd(index, {self._rng.choice(self._jobs()): 0})

    # Streams.

    async def stream_of_another_type(self) -> None:
        await self._replace(self._rng.choice(READY))

    async def stream_gone(self) -> None:
        await self._client.delete(self._rng.choice(READY))

    async def stream_trimmed(self) -> None:
        await self._client.xtrim(self._rng.choice(READY), maxlen=self._rng.randrange(3), approximate=False)

    async def entry_gone(self) -> None:
        name = self._rng.choice(READY)
        for entry, _ in await self._client.xrange(name, "-", "+", 1):
            await self._client.xdel(name, entry)

    async def entry_forged(self) -> None:
        value = self._rng.choice([*MEMBERS, *(job_id.encode() for job_id in self._jobs())])
        await self._client.xadd(self._rng.choice(READY), {self._rng.choice(["job", "x", ""]): value, "y": "z"})

    async def last_entry(self) -> None:
        await self._client.xadd(self._rng.choice([*READY, keys.log(INFERENCE)]), {"job": "x"}, id=LAST)

    async def group_gone(self) -> None:
        await self._client.xgroup_destroy(self._rng.choice(READY), keys.GROUP)

    async def consumers_gone(self) -> None:
        name = self._rng.choice(READY)
        for consumer in await self._client.xinfo_consumers(name, keys.GROUP):
            await self._client.xgroup_delconsumer(name, keys.GROUP, consumer["name"])

    async def log_entry(self) -> None:
        fields = {"count": self._rng.choice([b"inf", b"nan", b"-1", b"x", b"1e300"]), "changes": self._bytes(50)}
        await self._client.xadd(keys.log(INFERENCE), self._rng.choice([fields, {"x": "y"}]))

    async def _replace(self, name: str) -> None:
        await self._client.delete(name)
        match self._rng.randrange(6):
            case 0:
                await self._client.set(name, self._bytes(20))
            case 1:
                await self._client.hset(name, "x", self._bytes(20))
            case 2:
                await self._client.rpush(name, "x")
            case 3:
                await self._client.sadd(name, "x", b"\xff")
            case 4:
                await self._client.zadd(name, {b"\xff": 0})
            case _:
                await self._client.xadd(name, {"x": "y"})
