"""Running jobs for readers to follow: their events come in groups of random number and size."""

import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from shared_schemas.events import Logged
from shared_schemas.ids import JobId
from shared_schemas.specs import TrainingSpec
from shared_schemas.stream.claims import Claim
from shared_schemas.stream.nodes import Nodes
from shared_schemas.stream.timeline import Timeline

from tests.support.gateways import TRAINING, Driver, driver, succeeded
from tests.support.sse_reader import SseReader, as_sent
from tests.support.workers import Bench

LONGEST_LINE = 300


class FollowedJobs:
    """ids: those of the jobs. client: connected to their Redis. The seed of rng decides everything."""

    def __init__(self, drive: Driver, rng: random.Random) -> None:
        self._drive, self._rng, self.client = drive, rng, drive.client
        self._claims: dict[JobId, Claim] = {}
        self._recorded: dict[JobId, int] = {}

    @property
    def ids(self) -> list[JobId]:
        return list(self._claims)

    async def begin(self, n: int) -> None:
        spec, side = TrainingSpec(model_type="mlp", data_path="a.csv", seed=1), Bench(self.client)
        for job_id in [await side.submit(spec, queue=TRAINING) for _ in range(n)]:
            self._claims[job_id] = await self._drive.begin(job_id)
            self._recorded[job_id] = 0

    def n_events(self, job_id: JobId) -> int:
        """How many events there are so far: two changes of state, then the recorded ones."""
        return 2 + self._recorded[job_id]

    async def record(self, job_id: JobId, *lines: str) -> None:
        await self._drive.record(
            self._claims[job_id], *(Logged(line=line) for line in lines), first=self._recorded[job_id]
        )
        self._recorded[job_id] += len(lines)

    async def go_on(self, jobs: Sequence[JobId] | None = None) -> None:
        """Record a few events of each job."""
        for job_id in self.ids if jobs is None else jobs:
            sizes = [self._rng.randint(0, LONGEST_LINE) for _ in range(self._rng.randint(0, 3))]
            if sizes:
                await self.record(job_id, *("x" * size for size in sizes))

    async def end(self) -> None:
        for job_id, claim in self._claims.items():
            await self._drive.settle(claim, succeeded(), first=self._recorded[job_id])

    async def as_stored(self, job_id: JobId) -> list[bytes]:
        """The bytes of the whole timeline, as a reader must receive them."""
        timeline, sent = Timeline(Nodes(self.client)), list[bytes]()
        while page := await timeline.read(job_id, after=len(sent)):
            sent += [as_sent(str(entry.n), entry.event, entry.data) for entry in page]
        assert sent[-1].startswith(as_sent(str(len(sent)), "done", b"{"))
        return sent


@asynccontextmanager
async def followed(redis_url: str, rng: random.Random, n: int) -> AsyncIterator[FollowedJobs]:
    async with driver(redis_url) as drive:
        jobs = FollowedJobs(drive, rng)
        await jobs.begin(n)
        yield jobs


def stream_of(job_id: JobId) -> str:
    return f"/jobs/{job_id}/events"


async def all_have(readers: Sequence[SseReader], jobs: FollowedJobs) -> None:
    """Wait until every reader has all events so far. Reader i follows job i modulo the number of
    jobs."""
    for i, reader in enumerate(readers):
        await reader.has(jobs.n_events(jobs.ids[i % len(jobs.ids)]))
