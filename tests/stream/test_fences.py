"""What a running attempt may write: the current fence allows events, renewals and the end. An older one allows none."""

import pytest
from shared_schemas.events import Emitted, Logged, Measured, Progressed, Reason, StateChanged
from shared_schemas.ids import default_queue
from shared_schemas.job import JobState
from shared_schemas.kinds import JobKind
from shared_schemas.outcome import Outcome

from tests.support.queue_bench import OUTCOMES, QueueBench, queue_bench, success

STATES = {
    "success": JobState.SUCCEEDED,
    "failure": JobState.FAILED,
    "retry": JobState.SCHEDULED,
    "release": JobState.QUEUED,
    "cancellation": JobState.CANCELLED,
}


async def test_events_are_numbered_without_a_gap_and_a_repeated_call_adds_none(redis_url: str) -> None:
    async with queue_bench(redis_url) as side:
        job_id = await side.submit()
        [claim] = await side.claim()
        events = [Emitted(chunk="a"), Progressed(fraction=0.5), Measured(split="train", step=1, values={"loss": 1.0})]

        assert await side.record(claim, *events)
        assert await side.record(claim, *events)
        assert await side.record(claim, *events[1:], Logged(line="b"), first=1)

        job = await side.folded(job_id)
        assert job.last_event == 2 + 4
        assert job.metrics == {"train": {"loss": 1.0}}


@pytest.mark.parametrize("name", list(OUTCOMES))
async def test_an_attempt_settles_once_and_a_repeated_settle_changes_nothing(redis_url: str, name: str) -> None:
    async with queue_bench(redis_url) as side:
        job_id = await side.submit()
        [claim] = await side.claim()

        assert await side.settle(claim, OUTCOMES[name], Emitted(chunk="last"))
        after = await side.fields(job_id)
        assert await side.settle(claim, OUTCOMES[name], Emitted(chunk="last"))

        assert await side.fields(job_id) == after
        assert (await side.folded(job_id)).state is STATES[name]
        assert len(await side.listings(job_id)) == 1
        assert await side.pending() == 0


@pytest.mark.parametrize("name", list(OUTCOMES))
async def test_a_worker_that_lost_its_claim_can_write_nothing(redis_url: str, name: str) -> None:
    async with queue_bench(redis_url) as side:
        job_id = await side.submit()
        [stale] = await side.claim("a")
        assert await side.lose(stale) == "requeued"
        await _check_refused(side, stale, OUTCOMES[name])

        [fresh] = await side.claim("b")
        assert (fresh.attempt, fresh.crashes) == (2, 1)
        await _check_refused(side, stale, OUTCOMES[name])

        assert await side.settle(fresh, success(2))
        await _check_refused(side, stale, OUTCOMES[name])
        job = await side.folded(job_id)
        assert (job.state, job.attempt, bytes(job.result)) == (JobState.SUCCEEDED, 2, b"2")


async def _check_refused(side: QueueBench, stale: object, outcome: Outcome) -> None:
    before = await side.fields(stale.job_id)  # type: ignore[attr-defined]
    assert not await side.record(stale, Emitted(chunk="late"))  # type: ignore[arg-type]
    assert not await side.settle(stale, outcome)  # type: ignore[arg-type]
    renewal = side.leases("a").renew({stale.job_id: stale.fence}, {})  # type: ignore[attr-defined]
    assert not renewal[stale.job_id].held  # type: ignore[attr-defined]
    assert await side.fields(stale.job_id) == before  # type: ignore[attr-defined]


async def test_a_renewal_takes_the_entry_back_and_moves_the_beat(redis_url: str) -> None:
    async with queue_bench(redis_url) as side:
        job_id = await side.submit()
        [claim] = await side.claim("a")
        stream = "{hr:inference}:ready:normal"
        await side.client.xclaim(stream, "workers", "thief", 0, [claim.entry], justid=True)

        assert side.leases("a").renew({job_id: claim.fence}, {})[job_id].held

        [entry] = await side.client.xpending_range(stream, "workers", "-", "+", 1)
        assert entry["consumer"] == b"a"
        assert (await side.fields(job_id))["beat"] == "1"


async def test_a_job_that_loses_its_worker_twice_is_a_dead_letter(redis_url: str) -> None:
    async with queue_bench(redis_url) as side:
        job_id = await side.submit()
        [first] = await side.claim("a")
        assert await side.lose(first) == "requeued"
        [second] = await side.claim("b")

        assert await side.lose(second) == "poison"

        job = await side.folded(job_id)
        assert (job.state, job.crashes) == (JobState.FAILED, 2)
        assert job.error is not None
        assert job.error.code == "poison"
        assert [dead.id for dead in (await side.dead_letters.page(default_queue(JobKind.INFERENCE))).jobs] == [job_id]
        assert await side.claim("c") == []


async def test_a_beat_that_moved_since_it_was_seen_saves_the_claim(redis_url: str) -> None:
    async with queue_bench(redis_url) as side:
        job_id = await side.submit()
        [claim] = await side.claim("a")
        await side.client.zadd("{hr:inference}:leases", {job_id: 1})
        silent = await side.recovery.silent_jobs(lease_s=10)
        assert [job.job_id for job in silent] == [job_id]

        side.leases("a").renew({job_id: claim.fence}, {})

        assert await side.recovery.reclaim(silent) == ["alive"]
        assert await side.recovery.silent_jobs(lease_s=10) == []
        assert await side.settle(claim, success())


async def test_a_request_to_a_running_attempt_is_applied_when_the_attempt_lets_go(redis_url: str) -> None:
    async with queue_bench(redis_url) as side:
        cancelled, paused, done = [await side.submit() for _ in range(3)]
        claims = {claim.job_id: claim for claim in await side.claim()}
        await side.control.cancel(cancelled)
        await side.control.pause(paused)
        await side.control.cancel(done)
        renewals = side.leases("a").renew({job_id: claim.fence for job_id, claim in claims.items()}, {})
        assert renewals[cancelled].cancel_requested
        assert renewals[paused].pause_requested

        await side.settle(claims[cancelled], OUTCOMES["retry"])
        await side.settle(claims[paused], OUTCOMES["release"])
        await side.settle(claims[done], success())

        assert (await side.folded(cancelled)).state is JobState.CANCELLED
        assert (await side.folded(paused)).state is JobState.PAUSED
        assert (await side.folded(done)).state is JobState.SUCCEEDED
        assert await side.claim() == []
        assert (await side.schedule.promote()).promoted == 0

        assert await side.control.resume(paused) is JobState.QUEUED
        [again] = await side.claim()
        assert (again.job_id, again.lane, again.attempt) == (paused, "front", 2)


async def test_a_pause_can_be_withdrawn_before_it_is_applied(redis_url: str) -> None:
    async with queue_bench(redis_url) as side:
        job_id = await side.submit()
        [claim] = await side.claim()
        await side.control.pause(job_id)

        assert await side.control.resume(job_id) is JobState.RUNNING
        await side.settle(claim, OUTCOMES["release"])

        job = await side.folded(job_id)
        assert job.state is JobState.QUEUED
        reasons = [event.reason for event in await side.events(job_id) if isinstance(event, StateChanged)]
        assert Reason.PAUSE_WITHDRAWN in reasons
