"""Claiming: which entries a worker is given, and which attempts begin. `test_fences` has what an attempt writes."""

from collections.abc import Awaitable, Callable

import anyio
import msgspec
import pytest
from headrace_local.system import free_port
from shared_schemas.errors import BackendUnavailable
from shared_schemas.ids import JobId, default_queue
from shared_schemas.job import JobState
from shared_schemas.kinds import JobKind
from shared_schemas.specs import Priority
from shared_schemas.stream import keys
from shared_schemas.stream.claims import Claim, Claims
from shared_schemas.stream.keys import Lane
from shared_schemas.stream.submission import Submission

from tests.support.queue_bench import QueueBench, queue_bench, success
from tests.support.redis_server import RedisServer
from tests.support.stored import patch
from tests.support.workers import a_submission, until_blocked


async def test_two_workers_never_claim_the_same_job(redis_url: str) -> None:
    async with queue_bench(redis_url) as side:
        jobs = [await side.submit() for _ in range(20)]
        claims = [*await side.claim("a", 7), *await side.claim("b", 7), *await side.claim("c", 7)]

        assert sorted(claim.job_id for claim in claims) == sorted(jobs)
        assert all(claim.attempt == 1 and claim.fence.startswith("1-") for claim in claims)


async def test_an_entry_that_woke_a_full_worker_is_handed_back(redis_url: str) -> None:
    async with queue_bench(redis_url) as side:
        job_id = await side.submit()
        worker = await side.worker("a")
        entries = await worker.wait(timeout_s=1)

        assert await worker.claim(0, token="t", entries=entries) == []

        [claim] = await side.claim("b")
        assert (claim.job_id, claim.attempt) == (job_id, 1)
        assert (await side.folded(job_id)).attempt == 1


async def test_a_claim_behind_a_wait_begins_what_comes_without_being_asked(redis_url: str) -> None:
    async with queue_bench(redis_url) as side:
        worker = await side.worker("a")
        # Redis is sent the script by a claim of the usual kind.
        assert await side.claim("a") == []
        begun = list[Claim]()

        async def wait() -> None:
            left, claims = await worker.wait_to_claim(5, token="t", timeout_s=2.0)
            assert left == []
            begun.extend(claims)

        for _ in range(2):
            async with anyio.create_task_group() as group:
                group.start_soon(wait)
                await until_blocked(side.client)
                job_id = await side.submit()
            assert [claim.job_id for claim in begun] == [job_id]
            assert (await side.folded(job_id)).state is JobState.RUNNING
            assert await side.settle(begun.pop(), success())
        assert await worker.wait_to_claim(5, token="u", timeout_s=0.01) == ([], [])


@pytest.mark.quick
@pytest.mark.fault(
    "workers",
    "Redis forgets the scripts while a worker waits with a claim sent behind",
    sees="the next claim starts the job",
)
async def test_what_a_forgotten_claim_did_not_begin_is_left_to_the_next(redis_url: str) -> None:
    async with queue_bench(redis_url) as side:
        job_id, worker = await side.submit(), await side.worker("a")
        await side.client.script_flush()

        left, claims = await worker.wait_to_claim(5, token="t", timeout_s=2.0)

        assert ([entry_job for _, _, entry_job in left], claims) == ([job_id], [])
        [claim] = await worker.claim(5, token="u", entries=left)
        assert (claim.job_id, claim.attempt) == (job_id, 1)


async def two_entries_of_one_id(side: QueueBench) -> tuple[Submission, Submission]:
    """A job of each lane. Redis 7.0 reads its clock for each entry, so the first pairs may differ."""
    while True:
        high, normal = a_submission(priority=Priority.HIGH), a_submission()
        await side.submitter.submit_all(side.queue, [high, normal])
        newest = [
            (await side.client.xrevrange(keys.ready(side.queue, lane), count=1))[0][0]
            for lane in (Lane.HIGH, Lane.NORMAL)
        ]
        if newest[0] == newest[1]:
            return high, normal
        assert len(await side.claim("a", 2)) == 2


async def test_what_a_claim_behind_a_wait_does_not_know_is_left_to_the_next(redis_url: str) -> None:
    """An entry older than one that was begun, as after a clock was set back, beside one of the same id."""
    async with queue_bench(redis_url) as side:
        worker = await side.worker("a")
        assert await side.claim("a") == []
        high, normal = await two_entries_of_one_id(side)
        worker.newest[Lane.HIGH] = "9999999999999-0"

        left, [claim] = await worker.wait_to_claim(5, token="t", timeout_s=2.0)

        assert claim.job_id == normal.job_id
        [(lane, entry, job_id)] = left
        assert (lane, entry, job_id) == (Lane.HIGH, claim.entry, high.job_id)
        [other] = await worker.claim(5, token="u", entries=left)
        assert other.job_id == high.job_id


async def test_a_busy_worker_learns_from_its_claim_that_a_job_waits_to_run_alone(redis_url: str) -> None:
    """Otherwise a worker that gets jobs one by one would never be idle."""
    async with queue_bench(redis_url) as side:
        worker = await side.worker("a")
        assert await side.claim("a") == []
        job_id = await side.submit()
        await patch(side.client, job_id, suspect=1)

        _, claims = await worker.wait_to_claim(5, token="t", timeout_s=2.0, is_idle=False)
        assert (claims, worker.wants_idle_worker) == ([], True)

        _, [claim] = await worker.wait_to_claim(5, token="u", timeout_s=2.0)
        assert (claim.job_id, claim.must_run_alone, worker.wants_idle_worker) == (job_id, True, False)


ASKS: dict[str, Callable[[Claims], Awaitable[object]]] = {
    "wait": lambda worker: worker.wait(timeout_s=2.0),
    "wait_to_claim": lambda worker: worker.wait_to_claim(5, token="t", timeout_s=2.0),
    "recover": lambda worker: worker.recover(),
}


@pytest.mark.quick
@pytest.mark.fault(
    "failover", "a worker asks for work at a Redis that accepts no writes", sees="nothing: the worker asks again"
)
@pytest.mark.parametrize("command", ["REPLICAOF 127.0.0.1 1", "CONFIG SET min-replicas-to-write 1"])
@pytest.mark.parametrize("ask", ASKS)
async def test_a_redis_that_refuses_is_away(own_redis: RedisServer, ask: str, command: str) -> None:
    async with queue_bench(own_redis.url) as side:
        worker = await side.worker("a")
        await side.client.execute_command(*command.split())

        with pytest.raises(BackendUnavailable):
            await ASKS[ask](worker)


@pytest.mark.quick
@pytest.mark.fault(
    "failover",
    "a master is demoted while a worker waits for work",
    sees="nothing: the worker asks again at the new master",
)
@pytest.mark.parametrize("ask", ["wait", "wait_to_claim"])
async def test_a_master_that_is_demoted_meanwhile_is_away(own_redis: RedisServer, ask: str) -> None:
    async with queue_bench(own_redis.url) as side:
        worker = await side.worker("a")

        async def is_away() -> None:
            with pytest.raises(BackendUnavailable):
                await ASKS[ask](worker)

        async with anyio.create_task_group() as group:
            group.start_soon(is_away)
            await until_blocked(side.client)
            await side.client.replicaof("127.0.0.1", free_port())


async def test_an_answer_that_was_lost_is_given_again_to_the_same_worker(redis_url: str) -> None:
    async with queue_bench(redis_url) as side:
        await side.submit()
        [lost] = await side.claim("a")
        worker = await side.worker("a")
        entries = await worker.recover()

        [again] = await worker.claim(5, token="other", entries=entries)

        assert msgspec.structs.replace(again, waited_s=lost.waited_s) == lost
        assert await worker.claim(5, token="third", held={lost.job_id: lost.fence}, entries=entries) == []
        assert await (await side.worker("b")).claim(5, token="x", entries=entries) == []


@pytest.mark.quick
@pytest.mark.fault(
    "redis",
    "a consumer group is destroyed after a job was delivered and before it is started",
    sees="the job runs once",
)
@pytest.mark.parametrize("held", [{}, None])
async def test_an_entry_that_a_new_group_delivers_again_is_begun_once(
    redis_url: str, held: dict[JobId, str] | None
) -> None:
    async with queue_bench(redis_url) as side:
        job_id = await side.submit()
        worker = await side.worker("a")
        entries = await worker.wait(timeout_s=1)
        await side.client.xgroup_destroy(keys.ready(default_queue(JobKind.INFERENCE), Lane.NORMAL), keys.GROUP)

        claims = await worker.claim(5, token="t", held=held, entries=entries)

        assert [claim.job_id for claim in claims] == [job_id]
        assert not worker.needs_recovery


async def test_a_cancelled_entry_is_skipped_and_search_goes_on(redis_url: str) -> None:
    async with queue_bench(redis_url) as side:
        cancelled = [await side.submit() for _ in range(30)]
        for job_id in cancelled:
            assert await side.control.cancel(job_id) is JobState.CANCELLED
        live = await side.submit()

        assert [claim.job_id for claim in await side.claim(slots=2)] == [live]
        assert await side.pending() == 1


async def test_a_job_past_its_start_deadline_is_never_begun(redis_url: str) -> None:
    async with queue_bench(redis_url) as side:
        job_id = await side.submit(start_deadline_s=100.0)
        await patch(side.client, job_id, deadline="1")

        assert await side.claim() == []

        job = await side.folded(job_id)
        assert job.state is JobState.FAILED
        assert job.error is not None
        assert job.error.code == "start_deadline_exceeded"


async def test_the_deadline_ends_a_job_that_no_worker_claims(redis_url: str) -> None:
    async with queue_bench(redis_url) as side:
        job_id = await side.submit(start_deadline_s=100.0)
        await side.client.zadd("{hr:inference}:deadlines", {job_id: 1})

        assert (await side.schedule.promote()).expired == 1
        assert (await side.folded(job_id)).state is JobState.FAILED


async def test_the_lag_of_the_group_stays_known_when_queued_jobs_are_cancelled(redis_url: str) -> None:
    async with queue_bench(redis_url) as side:
        jobs = [await side.submit() for _ in range(5)]
        await side.claim(slots=1)
        for job_id in jobs[2:4]:
            await side.control.cancel(job_id)

        [group] = await side.client.xinfo_groups("{hr:inference}:ready:normal")
        if "lag" in group:  # Redis 7.0 or newer
            assert group["lag"] is not None
