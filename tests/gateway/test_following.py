"""The hand-over from what is stored to what rings, with the subscription under the test's hand."""

import anyio
from gateway.following import Batch, Follower
from gateway.hub import Hub
from shared_schemas.stream.timeline import Doorbells

from tests.support.workers import bench


async def test_a_timeline_is_not_read_before_its_bell_can_be_heard(redis_url: str) -> None:
    async with bench(redis_url) as jobs:
        job_id = await jobs.submit()
        hub = Hub(lambda: Doorbells(jobs.client))
        follower = Follower(hub, jobs.timeline, {job_id: 0}, idle_s=3600)
        numbers: list[int] = []

        async def follow() -> None:
            async for item in follower.follow():
                if isinstance(item, Batch):
                    numbers.extend(entry.n for entry in item.entries)

        with anyio.fail_after(4):
            async with anyio.create_task_group() as group:
                async with anyio.create_task_group() as following:
                    following.start_soon(follow)
                    # Longer than a reading of the timeline would take, had it begun.
                    for _ in range(100):
                        await jobs.events(job_id)
                    await jobs.ledger.cancel(job_id)
                    group.start_soon(hub.run)
                group.cancel_scope.cancel()

    assert numbers == [1, 2]
