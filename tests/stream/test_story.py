"""Any story that workers, submitters and faults can write together keeps the promises of the protocol.

Hypothesis makes the stories: several workers with fresh and stale claims, repeated calls, lost workers, requests at any
moment, housekeeping by anyone. After each step the hash and the timeline must tell the same, and nothing may be lost.
"""

from collections.abc import Callable

import anyio
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from shared_schemas.attempts import attempts_of
from shared_schemas.codec import decode_event
from shared_schemas.errors import JobNotFound, StateConflict
from shared_schemas.events import Done, Emitted, Measured, Progressed
from shared_schemas.ids import JobId
from shared_schemas.job import JobState
from shared_schemas.specs import Priority
from shared_schemas.stream.claims import Claim

from tests.support.queue_bench import OUTCOMES, QueueBench, queue_bench
from tests.support.redis_server import RedisServer

EVENTS = (
    Emitted(chunk="x"),
    Progressed(fraction=0.5, step=1),
    Measured(split="train", step=1, values={"loss": None}),
)

steps = st.one_of(
    st.tuples(st.just("submit"), st.sampled_from(["high", "normal", "low"])),
    st.tuples(st.just("submit_dependent"), st.integers(0, 9)),
    st.tuples(st.just("claim"), st.sampled_from("ab"), st.integers(0, 3)),
    st.tuples(st.just("record"), st.integers(0, 9), st.integers(0, 2)),
    st.tuples(st.just("settle"), st.integers(0, 9), st.sampled_from(sorted(OUTCOMES))),
    st.tuples(st.just("renew"), st.integers(0, 9)),
    st.tuples(st.just("lose"), st.integers(0, 9)),
    st.tuples(st.just("cancel"), st.integers(0, 9)),
    st.tuples(st.just("pause"), st.integers(0, 9)),
    st.tuples(st.just("resume"), st.integers(0, 9)),
    st.tuples(st.just("promote")),
    st.tuples(st.just("repair")),
    st.tuples(st.just("redeliver")),
    st.tuples(st.just("steal"), st.sampled_from(["high", "normal", "low", "front"])),
)


class Story:
    """jobs and claims so far; a number in a step picks one of them, stale ones included."""

    def __init__(self, side: QueueBench) -> None:
        self._side = side
        self.jobs: list[JobId] = []
        self._claims: list[Claim] = []
        self._ended: dict[JobId, dict[str, str]] = {}

    async def tell(self, step: tuple[object, ...]) -> None:
        verb, *arguments = step
        await getattr(self, f"_{verb}")(*arguments)
        for job_id in self.jobs:
            await self._check(job_id)

    async def _submit(self, priority: str) -> None:
        self.jobs.append(await self._side.submit(priority=Priority(priority)))

    async def _submit_dependent(self, n: int) -> None:
        if self.jobs:
            self.jobs.append(await self._side.submit(depends_on=(self._job(n),)))

    async def _claim(self, worker: str, slots: int) -> None:
        self._claims += await self._side.claim(worker, slots)

    async def _record(self, n: int, first: int) -> None:
        if self._claims:
            await self._side.record(self._claims[n % len(self._claims)], *EVENTS, first=first)

    async def _settle(self, n: int, outcome: str) -> None:
        if self._claims:
            await self._side.settle(self._claims[n % len(self._claims)], OUTCOMES[outcome], EVENTS[0], first=1)

    async def _renew(self, n: int) -> None:
        if self._claims:
            claim = self._claims[n % len(self._claims)]
            self._side.leases().renew({claim.job_id: claim.fence}, {})

    async def _lose(self, n: int) -> None:
        if self._claims:
            await self._side.lose(self._claims[n % len(self._claims)])

    async def _cancel(self, n: int) -> None:
        await self._ask(n, self._side.ledger.cancel)

    async def _pause(self, n: int) -> None:
        await self._ask(n, self._side.ledger.pause)

    async def _resume(self, n: int) -> None:
        await self._ask(n, self._side.ledger.resume)

    async def _promote(self) -> None:
        await self._side.house.promote()

    async def _repair(self) -> None:
        await self._side.house.repair()

    async def _redeliver(self) -> None:
        await self._side.house.redeliver(idle_s=0.0, worker="a")

    async def _steal(self, lane: str) -> None:
        """A worker takes entries and dies before it begins them."""
        stream = f"{{hr:inference}}:ready:{lane}"
        await self._side.client.xreadgroup("workers", "dead", {stream: ">"}, count=2)

    async def _ask(self, n: int, verb: Callable[[JobId], object]) -> None:
        if self.jobs:
            try:
                await verb(self._job(n))  # type: ignore[misc]
            except StateConflict:
                # Refused, as a terminal or unsuitable state must; the check after the step sees that nothing changed.
                return

    def _job(self, n: int) -> JobId:
        return self.jobs[n % len(self.jobs)]

    async def _check(self, job_id: JobId) -> None:
        side, job = self._side, await self._side.folded(job_id)
        fields = await side.fields(job_id)
        assert await side.listings(job_id) == [f"{job.state}:{fields['lane']}"]
        assert self._ended.get(job_id, fields) == fields, "a terminal job was changed"
        held = await side.client.zscore("{hr:inference}:leases", job_id)
        assert (held is not None) == (job.state is JobState.RUNNING)
        assert job.crashes <= 2
        found = [decode_event(data) for data in await side.timeline.read_attempts(job_id)]
        assert attempts_of(found) == attempts_of(await side.events(job_id))
        match job.state:
            case JobState.SCHEDULED:
                due = await side.client.zscore("{hr:inference}:due", job_id)
                assert due is not None or await side.client.zscore("{hr:inference}:waiting", job_id) is not None
            case state if state.is_terminal:
                self._ended[job_id] = fields
                assert isinstance((await side.events(job_id))[-1], Done)
            case _:
                pass

    async def finish(self) -> None:
        """Whatever has happened: once the faults stop, every job can be brought to an end."""
        side = self._side
        for claim in self._claims:
            await side.lose(claim)
        for job_id in self.jobs:
            if (await side.folded(job_id)).state is JobState.PAUSED:
                await side.ledger.resume(job_id)
        for _ in range(3 + len(self.jobs)):
            await side.house.promote()
            await side.house.redeliver(idle_s=0.0, worker="z")
            await side.house.repair()
            while claims := await side.claim("z", 100):
                for claim in claims:
                    assert await side.settle(claim, OUTCOMES["success"])
        for job_id in self.jobs:
            await self._check(job_id)
            assert (await side.folded(job_id)).state.is_terminal
        assert await side.pending() == 0


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], print_blob=True)
@given(st.lists(steps, max_size=30))
def test_a_job_is_the_fold_of_its_timeline_and_is_never_lost(shared_redis: RedisServer, story: list[object]) -> None:
    async def tell() -> None:
        async with queue_bench(shared_redis.url) as side:
            told = Story(side)
            for step in story:
                await told.tell(step if isinstance(step, tuple) else (step,))
            await told.finish()

    client = redis.Redis.from_url(shared_redis.url, protocol=2)
    client.flushall()
    client.close()
    anyio.run(tell)


async def test_an_unknown_job_is_not_found(redis_url: str) -> None:
    async with queue_bench(redis_url) as side:
        for verb in (side.ledger.find, side.ledger.cancel, side.ledger.pause, side.ledger.resume):
            try:
                await verb(JobId("inference-00000000000000000000000000"))
            except JobNotFound:
                continue
            raise AssertionError(f"{verb} found a job that is not there")
