"""A reply to a worker that is lost with its connection, for each script and for the blocking read.

Redis has executed the command, and the caller cannot know. The caller asks again, and the effect
must happen once.
"""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import pytest
from shared_schemas.errors import JobExpired
from shared_schemas.events import Emitted, JobEvent, Reason, StateChanged
from shared_schemas.ids import JobId
from shared_schemas.job import JobState
from shared_schemas.outcome import Success
from shared_schemas.stream import keys
from shared_schemas.stream.claims import Claims
from shared_schemas.stream.keys import Lane
from worker_runtime import Attempt

from tests.support.fault_proxy import fault_proxy
from tests.support.network import Sighting
from tests.support.redis_server import RedisServer
from tests.support.rest import left_over
from tests.support.workers import INFERENCE, Bench, ScriptedHandler, a_submission, bench, running_worker, success

PARTS = [f"{n} " for n in range(10)]
OF_WORKERS = [("XREADGROUP", 1), ("claim", 1), ("claim", 3), ("record", 1), ("record", 6), ("renew", 1), ("renew", 3)]
OF_ENDS = [("settle", 1), ("settle", 6)]
OF_HOUSEKEEPING = ("promote_due", "meet_dependencies", "reclaim", "redeliver", "repair", "sweep")


def count(events: list[JobEvent], reason: Reason) -> int:
    return sum(isinstance(event, StateChanged) and event.reason is reason for event in events)


@pytest.mark.quick
@pytest.mark.fault(
    "replies", "the connection breaks before the reply to a worker's call", sees="nothing: one attempt, one result"
)
@pytest.mark.parametrize(("command", "times"), [*OF_WORKERS, *OF_ENDS])
async def test_a_worker_that_never_saw_the_reply_charges_and_writes_nothing_twice(
    redis_url: str, command: str, times: int
) -> None:
    submission = a_submission()
    dropped: Sighting

    async def tell(attempt: Attempt) -> Success:
        for part in PARTS:
            await attempt.record(Emitted(chunk=part))
            await attempt.flush()
        if command == "renew":
            await dropped.happened(times)
        return success(attempt.number)

    handler = ScriptedHandler(tell)
    async with bench(redis_url) as side:
        with fault_proxy(redis_url) as proxy:
            dropped = proxy.drop_reply(command, containing=submission.job_id, times=times)
            waiting = proxy.watch("XREADGROUP", containing="BLOCK")
            async with running_worker(proxy.url, handler, lease_s=3.0):
                await waiting.happened()
                await side.submitter.submit(submission)
                await dropped.happened(times)
                job = await side.done(submission.job_id)

        assert await left_over(side.client, INFERENCE) == {}
        events = await side.events(job.id)

    assert (job.state, bytes(job.result)) == (JobState.SUCCEEDED, b"1")
    assert (job.attempt, job.failures, job.crashes, len(handler.attempts)) == (1, 0, 0, 1)
    assert [event.chunk for event in events if isinstance(event, Emitted)] == PARTS
    assert count(events, Reason.CLAIMED) == 1


async def scheduled(side: Bench) -> JobId:
    return await side.submit(run_at=datetime.now(UTC) + timedelta(seconds=0.3))


async def dependent(side: Bench) -> JobId:
    return await side.submit(depends_on=(await side.submit(),))


async def abandoned(side: Bench) -> JobId:
    """A job that was begun by a worker that no longer exists."""
    job_id = await side.submit()
    [claim] = await (await ghost(side)).claim(1, token="0" * 16)
    assert claim.job_id == job_id
    return job_id


async def handed_out(side: Bench) -> JobId:
    """A job whose entry was delivered to a worker that no longer exists, and that was never begun."""
    job_id = await side.submit()
    [(_, _, delivered)] = await (await ghost(side)).wait(timeout_s=1.0)
    assert delivered == job_id
    return job_id


async def trimmed(side: Bench) -> JobId:
    """A queued job whose entry is gone."""
    job_id = await side.submit()
    await side.client.xtrim(keys.ready(INFERENCE, Lane.NORMAL), maxlen=0)
    return job_id


async def ghost(side: Bench) -> Claims:
    claims = Claims(side.nodes, side.client, INFERENCE, worker="ghost", lease_s=0.5)
    await claims.open()
    return claims


# For each script: a job for it, text that its reply contains once it has acted, and the attempts and crashes then.
CHORES: dict[str, tuple[Callable[[Bench], Awaitable[JobId]], str, tuple[int, int]]] = {
    "promote_due": (scheduled, "*4\r\n:1\r\n", (1, 0)),
    "meet_dependencies": (dependent, ":1\r\n", (1, 0)),
    "reclaim": (abandoned, "requeued", (2, 1)),
    "redeliver": (handed_out, "*7\r\n:1\r\n", (1, 0)),
    "repair": (trimmed, "*3\r\n:1\r\n", (1, 0)),
}


@pytest.mark.quick
@pytest.mark.fault(
    "replies", "the connection breaks before the reply to a housekeeping call", sees="nothing: it takes effect once"
)
@pytest.mark.parametrize("command", CHORES)
async def test_a_housekeeping_call_whose_reply_was_lost_takes_effect_once(own_redis: RedisServer, command: str) -> None:
    prepare, mark, charged = CHORES[command]

    async def answer(attempt: Attempt) -> Success:
        return success(attempt.number)

    # A Redis of its own, because a gateway on the same Redis would call the same scripts.
    async with bench(own_redis.url) as side:
        with fault_proxy(own_redis.url) as proxy:
            dropped = proxy.drop_reply(command, containing=mark)
            job_id = await prepare(side)
            async with running_worker(proxy.url, ScriptedHandler(answer), lease_s=1.0):
                await dropped.happened()
                job = await side.done(job_id)

        assert await left_over(side.client, INFERENCE) == {}

    assert job.state is JobState.SUCCEEDED
    assert (job.attempt, job.crashes) == charged
    assert job.failures == 0


@pytest.mark.quick
@pytest.mark.fault(
    "replies",
    "the connection breaks before the reply to the removal of expired jobs",
    sees="nothing: the expired job is 410",
)
async def test_an_expired_job_is_dropped_once_when_the_reply_is_lost(own_redis: RedisServer) -> None:
    async def answer(attempt: Attempt) -> Success:
        return success(attempt.number)

    async with bench(own_redis.url) as side:
        with fault_proxy(own_redis.url) as proxy:
            dropped = proxy.drop_reply("sweep", containing=":1\r\n")
            async with running_worker(proxy.url, ScriptedHandler(answer)):
                expired = await side.submit(result_ttl_s=1.0)
                kept = await side.submit()
                await dropped.happened()
                await side.done(await side.submit())

        with pytest.raises(JobExpired):
            await side.jobs.find(expired)
        assert (await side.folded(kept)).state is JobState.SUCCEEDED
        assert await left_over(side.client, INFERENCE) == {}
