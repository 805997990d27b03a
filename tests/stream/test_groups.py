"""What Redis reports of a consumer group: its backlog, for scaling workers, and the consumers of live workers only."""

from datetime import UTC, datetime

import pytest
from shared_schemas.stream import keys
from shared_schemas.stream.keys import GROUP, LANES, Lane
from shared_schemas.stream.workers import worker_facts

from tests.support.queue_bench import QueueBench, queue_bench, success
from tests.support.redis_server import RedisServer
from tests.support.workers import INFERENCE

_NOW = datetime.now(UTC)
NORMAL = keys.ready(INFERENCE, Lane.NORMAL)


async def reported_lag(side: QueueBench, otherwise: int) -> int | None:
    """otherwise: what a server without a lag reports, such as Redis 6.2."""
    [group] = await side.client.xinfo_groups(NORMAL)
    lag: int | None = group.get("lag", otherwise)
    return lag


async def consumers(side: QueueBench, lane: Lane = Lane.NORMAL) -> set[str]:
    return {
        consumer["name"].decode() for consumer in await side.client.xinfo_consumers(keys.ready(INFERENCE, lane), GROUP)
    }


@pytest.mark.parametrize("n_done", [0, 1, 5])
async def test_a_backlog_is_a_number_after_a_restart_though_a_job_of_before_runs(
    own_redis: RedisServer, n_done: int
) -> None:
    async with queue_bench(own_redis.url) as side:
        for _ in range(n_done + 2):
            await side.submit()
        *done, running, other = await side.claim(slots=n_done + 2)
        for claim in (*done, other):
            assert await side.settle(claim, success())
        queued = [await side.submit() for _ in range(3)]
        own_redis.kill()
        own_redis.start()

    async with queue_bench(own_redis.url) as side:
        await side.recovery.repair()

        # What ran and has ended may be in the way no more, and is what a scaler must not count.
        assert (await side.queue_queries.status(INFERENCE)).ready["normal"] == 3
        lag = await reported_lag(side, 3)
        assert lag is not None
        assert 3 <= lag <= 4

        claims = await side.claim("b", slots=2)
        assert [claim.job_id for claim in claims] == queued[:2]
        assert await reported_lag(side, 1) == 1
        fresh = await side.submit()
        assert await reported_lag(side, 2) == 2
        claims += await side.claim("b")
        assert [claim.job_id for claim in claims] == [*queued, fresh]
        for claim in (running, *claims):
            assert await side.settle(claim, success())
        assert await reported_lag(side, 0) == 0


async def test_consumers_of_dead_workers_go_once_nothing_is_pending_for_them(redis_url: str) -> None:
    facts = worker_facts(host="h", pid=1, slots=1, started_at=_NOW, state="running", jobs=(), facts={})
    async with queue_bench(redis_url) as side:
        for name in ("dead", "holding", "live", "young"):
            for lane in LANES:
                await side.client.xgroup_createconsumer(keys.ready(INFERENCE, lane), GROUP, name)
        job_id = await side.submit()
        [claim] = await side.claim("holding")
        assert claim.job_id == job_id
        side.leases("live").renew({}, facts)

        await side.recovery.repair(lease_s=1000.0)
        assert await consumers(side) >= {"dead", "holding", "live", "young"}
        await side.recovery.repair(lease_s=0.0)

        assert await consumers(side) == {"holding", "live"}
        assert await consumers(side, Lane.LOW) == {"live"}
        assert await side.pending() == 1
        assert await side.settle(claim, success())
        await side.recovery.repair(lease_s=0.0)
        assert await consumers(side) == {"live"}
        assert [c.job_id for c in await side.claim("dead")] == []
        again = await side.submit()
        assert [c.job_id for c in await side.claim("dead")] == [again]
