"""Finds where attempts began and ended in a timeline of any length."""

import pytest
from shared_schemas.attempts import AttemptEnd, attempts_of
from shared_schemas.codec import decode_event
from shared_schemas.events import Emitted, JobEvent
from shared_schemas.ids import JobId
from shared_schemas.stream.timeline import MOST_ATTEMPTS

from tests.support.queue_bench import OUTCOMES, QueueBench, queue_bench


async def found(side: QueueBench, job_id: JobId) -> list[JobEvent]:
    return [decode_event(data) for data in await side.timeline.read_attempts(job_id)]  # type: ignore[misc]


async def run(side: QueueBench, outcome: str, *, n_events: int = 0) -> None:
    await side.schedule.promote()
    [claim] = await side.claim()
    for first in range(0, n_events, 1000):
        assert await side.record(claim, *[Emitted(chunk="x")] * min(1000, n_events - first), first=first)
    assert await side.settle(claim, OUTCOMES[outcome], first=n_events)


@pytest.mark.parametrize("n_events", [0, 1, 2, 7, 1000])
async def test_the_found_events_give_the_same_attempts_as_the_whole_timeline(redis_url: str, n_events: int) -> None:
    async with queue_bench(redis_url) as side:
        job_id = await side.submit()
        assert await found(side, job_id) == []
        for outcome in ("retry", "release", "retry", "failure"):
            await run(side, outcome, n_events=n_events)

        attempts = attempts_of(await found(side, job_id))

        assert attempts == attempts_of(await side.events(job_id))
        assert [attempt.ended for attempt in attempts] == [
            AttemptEnd.RETRIED,
            AttemptEnd.RELEASED,
            AttemptEnd.RETRIED,
            AttemptEnd.FAILED,
        ]


async def test_a_long_timeline_is_not_read_to_find_them(redis_url: str) -> None:
    async with queue_bench(redis_url) as side:
        job_id = await side.submit()
        await run(side, "retry", n_events=8000)
        await run(side, "failure", n_events=8000)
        await side.client.config_resetstat()

        attempts = attempts_of(await found(side, job_id))
        read = await side.client.info("commandstats")

        assert [attempt.ended for attempt in attempts] == [AttemptEnd.RETRIED, AttemptEnd.FAILED]
        assert read["cmdstat_xrange"]["calls"] < 50


async def test_pauses_and_resumes_between_attempts_hide_no_end(redis_url: str) -> None:
    async with queue_bench(redis_url) as side:
        job_id = await side.submit()
        await run(side, "release", n_events=3)
        for _ in range(5):
            await side.control.pause(job_id)
            await side.control.resume(job_id)
        [claim] = await side.claim()

        attempts = attempts_of(await found(side, job_id))

        assert [(attempt.number, attempt.ended) for attempt in attempts] == [(1, AttemptEnd.RELEASED), (2, None)]
        assert claim.attempt == 2


async def test_of_a_job_released_without_end_the_newest_attempts_are_found(redis_url: str) -> None:
    async with queue_bench(redis_url) as side:
        job_id = await side.submit()
        for _ in range(MOST_ATTEMPTS + 5):
            await run(side, "release")

        attempts = attempts_of(await found(side, job_id))

        assert [attempt.number for attempt in attempts] == list(range(6, MOST_ATTEMPTS + 6))


async def test_an_unknown_job_has_none(redis_url: str) -> None:
    async with queue_bench(redis_url) as side:
        assert await found(side, JobId("inference-01arz3ndektsv4rrffq69g5fav")) == []
