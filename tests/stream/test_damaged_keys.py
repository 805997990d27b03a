"""A key that holds what Headrace did not write is deleted, and every job ends."""

import secrets
from datetime import UTC, datetime

import pytest
from shared_schemas.job import JobState
from shared_schemas.stream import keys
from shared_schemas.stream.keys import LANES
from shared_schemas.stream.workers import worker_facts

from tests.support.queue_bench import queue_bench, success
from tests.support.workers import INFERENCE

FACTS = worker_facts(host="h", pid=1, slots=1, started_at=datetime.now(UTC), state="running", jobs=(), facts={})
EVERY_KEY = [
    "due", "waiting", "deadlines", "leases", "expiring", "dead", "dead:bad", "log", "workers", "worker:a", "mend",
    *(f"ready:{lane}" for lane in LANES),
    *(f"listing:{state}:{lane}" for state in ("queued", "running", "succeeded") for lane in ("normal", "front")),
]  # fmt: skip


@pytest.mark.parametrize("kind", ["string", "hash", "list", "set", "zset", "stream"])
@pytest.mark.parametrize("name", EVERY_KEY)
async def test_whatever_lies_under_a_name_of_ours_is_put_aside_and_every_job_ends(
    redis_url: str, name: str, kind: str
) -> None:
    async with queue_bench(redis_url) as side:
        await side.submit()
        queued = [await side.submit() for _ in range(2)]
        [running] = await side.claim(slots=1)
        key = f"{{hr:inference}}:{name}"
        await side.client.delete(key)
        match kind:
            case "string":
                await side.client.set(key, "x")
            case "hash":
                await side.client.hset(key, "x", "y")
            case "list":
                await side.client.rpush(key, "x")
            case "set":
                await side.client.sadd(key, "x")
            case "zset":
                await side.client.zadd(key, {b"\xff": 0, "x": 1})
            case "stream":
                await side.client.xadd(key, {"x": "y"})

        await (await side.worker("a")).open()
        await (await side.worker("a")).recover()
        side.leases().renew({running.job_id: running.fence}, FACTS)
        await side.schedule.promote()
        await side.schedule.sweep()
        await side.recovery.silent_jobs(lease_s=10.0)
        await side.recovery.redeliver(idle_s=0.0, worker="b")
        for _ in range(3):
            await side.recovery.repair()
        claims = [claim for _ in range(3) for claim in await side.claim("b")]
        fresh = await side.submit()
        claims += await side.claim("b")
        for claim in (running, *claims):
            assert await side.settle(claim, success())

        assert sorted(claim.job_id for claim in claims) == sorted([*queued, fresh])
        jobs = (await side.jobs.list_jobs(INFERENCE)).jobs
        assert {job.state for job in jobs} <= {JobState.SUCCEEDED}
        for job_id in (running.job_id, *queued, fresh):
            assert (await side.jobs.find(job_id)).state is JobState.SUCCEEDED
        await side.queue_queries.status(INFERENCE)
        await side.workers.registered(INFERENCE)
        await side.change_log.read(INFERENCE)
        await side.dead_letters.page(INFERENCE)


@pytest.mark.parametrize("lane", LANES)
async def test_an_entry_of_the_last_id_that_there_is_ends_no_stream(redis_url: str, lane: str) -> None:
    async with queue_bench(redis_url) as side:
        last = f"{2**64 - 1}-{2**64 - 1}"
        await side.client.xadd(f"{{hr:inference}}:ready:{lane}", {"job": "x"}, id=last)
        await side.client.xadd(keys.log(INFERENCE), {"count": "inf", "changes": "x"}, id=last)

        jobs = [await side.submit() for _ in range(3)]
        claims = [claim for _ in range(3) for claim in await side.claim()]

        assert [claim.job_id for claim in claims] == jobs
        for claim in claims:
            assert await side.settle(claim, success())
        assert len(await side.change_log.read(INFERENCE)) == 3 * 3


async def test_the_log_goes_on_behind_all_its_own_entries_when_one_of_the_last_id_was_put_in(redis_url: str) -> None:
    async with queue_bench(redis_url) as side:
        before = [await side.submit() for _ in range(300)]
        entries = await side.client.xrange(keys.log(INFERENCE))
        last = f"{2**64 - 1}-{2**64 - 1}"
        await side.client.xadd(keys.log(INFERENCE), {"count": "inf", "changes": "x"}, id=last)

        after = await side.submit()

        assert (await side.client.xrange(keys.log(INFERENCE)))[:-1] == entries
        named = [change.job_id for change in await side.change_log.read(INFERENCE)]
        assert named == [*before, after]


async def test_jobs_are_found_again_by_the_log_when_all_that_lists_them_is_lost(redis_url: str) -> None:
    async with queue_bench(redis_url) as side:
        done, running = await side.submit(tags=("t",)), await side.submit()
        first, second = await side.claim()
        await side.settle(first, success())
        queued = [await side.submit() for _ in range(50)]
        later = await side.submit(run_at=datetime(2999, 1, 1, tzinfo=UTC))
        indexes = [name async for name in side.client.scan_iter(match="{hr:inference}:listing:*")]
        indexes += [f"{{hr:inference}}:{name}" for name in ("due", "leases", "expiring", "tagged:t")]
        await side.client.delete(*indexes, *(keys.ready(INFERENCE, lane) for lane in LANES))
        await side.client.set(keys.mend(INFERENCE), "-")

        await side.recovery.repair()
        await side.recovery.repair()

        assert await side.client.exists(keys.mend(INFERENCE)) == 0
        assert {claim.job_id for claim in await side.claim(slots=100)} == set(queued)
        assert await side.listings(later) == ["scheduled:normal"]
        assert await side.client.zscore("{hr:inference}:due", later) is not None
        assert await side.client.zscore("{hr:inference}:leases", running) is not None
        assert await side.client.zscore("{hr:inference}:expiring", done) is not None
        assert [row.id for row in (await side.jobs.list_jobs(INFERENCE, tag="t")).jobs] == [done]
        assert await side.settle(second, success())


@pytest.mark.parametrize("value", [b"", b"x", b"\xff \xff", b"a b c", "a list"])
async def test_a_damaged_idempotency_key_is_one_that_was_never_used(redis_url: str, value: bytes | str) -> None:
    async with queue_bench(redis_url) as side:
        from shared_schemas.stream.submission import Submission

        from tests.support.workers import a_submission

        plain = a_submission()
        key = f"{{hr:inference}}:idem:{secrets.token_hex(4)}"
        submission = Submission(
            job_id=plain.job_id, spec=plain.spec, idempotency_key=key.rpartition(":")[2], fingerprint="f"
        )
        await (side.client.set(key, value) if isinstance(value, bytes) else side.client.rpush(key, value))

        first, again = await side.submitter.submit(submission), await side.submitter.submit(submission)

        assert (first.job_id, first.created, again.created) == (plain.job_id, True, False)
