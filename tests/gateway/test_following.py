"""The hand-over from what is stored to what rings, with the subscription under the test's hand."""

from collections.abc import AsyncGenerator, Callable, Collection
from contextlib import closing

import anyio
from gateway.following import EndOnly, Following
from gateway.hub import Hub, Ring
from gateway.timelines import Batch, Timelines
from shared_schemas.stream import keys
from shared_schemas.stream.timeline import SHORT, Doorbells

from tests.support.workers import bench


class Numbers(EndOnly):
    def __init__(self) -> None:
        super().__init__()
        self.numbers: list[int] = []
        self.was_cut = False

    def push(self, batch: object) -> None:
        assert isinstance(batch, Batch)
        self.numbers.extend(entry.n for entry in batch.entries)

    def abort(self) -> None:
        self.was_cut = True
        super().abort()


class Ends(EndOnly):
    def __init__(self) -> None:
        super().__init__()
        self.n_ends = 0

    async def end(self) -> None:
        self.n_ends += 1
        await super().end()


async def test_a_timeline_is_not_read_before_its_bell_can_be_heard(redis_url: str) -> None:
    async with bench(redis_url) as jobs:
        job_id = await jobs.submit()
        hub = Hub(lambda: Doorbells(jobs.client))
        sink = Numbers()
        with anyio.fail_after(4):
            async with anyio.create_task_group() as group:
                with closing(Following(hub, Timelines(hub, jobs.timeline, {job_id: 0}), sink, idle_s=3600).begin()):
                    # Longer than a reading of the timeline would take, had it begun.
                    for _ in range(100):
                        await jobs.events(job_id)
                    await jobs.ledger.cancel(job_id)
                    group.start_soon(hub.run)
                    await sink.ended.wait()
                group.cancel_scope.cancel()

    assert sink.numbers == [1, 2]


async def test_a_line_whose_timeline_is_damaged_is_cut_and_the_others_go_on(redis_url: str) -> None:
    async with bench(redis_url) as jobs:
        damaged, whole = await jobs.submit(), await jobs.submit()
        await jobs.client.hset(keys.job(damaged), SHORT[0], "damaged")
        hub = Hub(lambda: Doorbells(jobs.client))
        cut, sink = Numbers(), Numbers()
        with anyio.fail_after(10):
            async with anyio.create_task_group() as group:
                group.start_soon(hub.run)
                with (
                    closing(Following(hub, Timelines(hub, jobs.timeline, {damaged: 0}), cut, idle_s=3600).begin()),
                    closing(Following(hub, Timelines(hub, jobs.timeline, {whole: 0}), sink, idle_s=3600).begin()),
                ):
                    await cut.ended.wait()
                    assert cut.was_cut
                    await jobs.ledger.cancel(whole)
                    await sink.ended.wait()
                group.cancel_scope.cancel()

    assert (cut.numbers, sink.numbers, sink.was_cut) == ([], [1, 2], False)


class StopsAsItIsRead:
    """A source that never makes its reader wait, of a process that is told to stop meanwhile."""

    def __init__(self, stop: Callable[[], None]) -> None:
        self.stop = stop
        self.channels: Collection[str] = frozenset({"a channel"})
        self.is_over, self.is_behind = False, True

    def miss(self, channel: str | None = None) -> None:
        self.is_behind = True

    def take(self, channel: str, ring: Ring) -> None:
        pass

    async def read(self) -> AsyncGenerator[None, None]:
        self.is_behind = False
        self.stop()
        for nothing in ():
            yield nothing


async def test_a_line_whose_process_stops_while_it_reads_ends_once(redis_url: str) -> None:
    async with bench(redis_url) as jobs:
        hub, sink = Hub(lambda: Doorbells(jobs.client)), Ends()
        async with anyio.create_task_group() as group:
            group.start_soon(hub.run)
            line = Following(hub, StopsAsItIsRead(hub.close), sink, idle_s=3600)
            with closing(line.begin()), anyio.fail_after(10):
                await sink.ended.wait()
                # Both ends would come without a wait.
                for _ in range(10):
                    await anyio.lowlevel.checkpoint()
            group.cancel_scope.cancel()

    assert sink.n_ends == 1
