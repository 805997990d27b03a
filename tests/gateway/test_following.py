"""How a stream changes from stored events to notifications. The tests control the subscription."""

from collections.abc import AsyncGenerator, Callable, Collection
from contextlib import closing
from functools import partial
from typing import Any

import anyio
from gateway.feed.change_log_source import ChangeLogSource
from gateway.feed.hub import Hub, Notification
from gateway.feed.subscription import EndOnly, Subscription
from gateway.feed.timeline_source import Batch, TimelineSource
from gateway.instrument import GatewayObserver
from shared_schemas.ids import JobId, QueueName
from shared_schemas.kinds import JobKind
from shared_schemas.stream import keys
from shared_schemas.stream.change_log import ChangeLog, LogEntry
from shared_schemas.stream.declaring import declared
from shared_schemas.stream.packed_job import SHORT_FIELDS
from shared_schemas.stream.pubsub import PubSubConnection
from shared_schemas.stream.timeline import Entry, Timeline

from tests.support.workers import Bench, bench


class Numbers(EndOnly):
    def __init__(self) -> None:
        super().__init__()
        self.numbers: list[int] = []
        self.was_cut = False
        self._came = anyio.Event()

    def push(self, batch: object) -> None:
        assert isinstance(batch, Batch)
        self.numbers.extend(entry.n for entry in batch.entries)
        self._came.set()
        self._came = anyio.Event()

    async def has(self, n: int) -> None:
        while n not in self.numbers:
            await self._came.wait()

    async def cut(self) -> None:
        self.was_cut = True
        await super().cut()

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

    async def cut(self) -> None:
        self.n_ends += 1
        await super().cut()


async def test_a_timeline_is_not_read_before_its_channel_is_subscribed(redis_url: str) -> None:
    async with bench(redis_url) as jobs:
        job_id = await jobs.submit()
        hub = Hub(lambda: PubSubConnection(jobs.client), GatewayObserver())
        sink = Numbers()
        with anyio.fail_after(4):
            async with anyio.create_task_group() as group:
                with closing(
                    Subscription(
                        hub, TimelineSource(hub, jobs.timeline, {job_id: 0}), sink, GatewayObserver(), idle_s=3600
                    ).begin()
                ):
                    # Longer than reading the timeline takes.
                    for _ in range(100):
                        await jobs.events(job_id)
                    await jobs.control.cancel(job_id)
                    group.start_soon(hub.run)
                    await sink.ended.wait()
                group.cancel_scope.cancel()

    assert sink.numbers == [1, 2]


async def test_a_stream_whose_timeline_is_damaged_is_cut_and_the_others_go_on(redis_url: str) -> None:
    async with bench(redis_url) as jobs:
        damaged, whole = await jobs.submit(), await jobs.submit()
        await jobs.client.hset(keys.job(damaged), SHORT_FIELDS[0], "damaged")
        hub = Hub(lambda: PubSubConnection(jobs.client), GatewayObserver())
        cut, sink = Numbers(), Numbers()
        with anyio.fail_after(10):
            async with anyio.create_task_group() as group:
                group.start_soon(hub.run)
                with (
                    closing(
                        Subscription(
                            hub, TimelineSource(hub, jobs.timeline, {damaged: 0}), cut, GatewayObserver(), idle_s=3600
                        ).begin()
                    ),
                    closing(
                        Subscription(
                            hub, TimelineSource(hub, jobs.timeline, {whole: 0}), sink, GatewayObserver(), idle_s=3600
                        ).begin()
                    ),
                ):
                    await cut.ended.wait()
                    assert cut.was_cut
                    await jobs.control.cancel(whole)
                    await sink.ended.wait()
                group.cancel_scope.cancel()

    assert (cut.numbers, sink.numbers, sink.was_cut) == ([], [1, 2], False)


class Counted(Timeline):
    n_reads = 0

    async def read(self, job_id: JobId, *, after: int, limit: int = 1000) -> list[Entry]:
        self.n_reads += 1
        return await super().read(job_id, after=after, limit=limit)


async def test_a_notification_while_a_stream_waits_for_its_turn_costs_no_second_reading(redis_url: str) -> None:
    async with bench(redis_url) as jobs:
        job_id, timeline = await jobs.submit(), Counted(jobs.nodes)
        hub = Hub(lambda: PubSubConnection(jobs.client), GatewayObserver(), n_readings=1)
        first, second = Numbers(), Numbers()
        first_of, second_of = (TimelineSource(hub, each, {job_id: 0}) for each in (jobs.timeline, timeline))
        await three_happen(jobs, job_id, hub, (first_of, first), (second_of, second))

    assert second.numbers == [1, 2, 3]
    assert timeline.n_reads == 1


async def three_happen(jobs: Bench, job_id: JobId, hub: Hub, other: tuple[Any, Any], waiting: tuple[Any, Any]) -> None:
    """Three events of a job with two readers, each a source and a sink. At the second event, one
    reader waits for its turn to read."""
    with anyio.fail_after(10):
        async with anyio.create_task_group() as group:
            group.start_soon(hub.run)
            with closing(Subscription(hub, *other, GatewayObserver(), idle_s=3600).begin()):
                await other[1].has(1)
                async with hub.reading:
                    subscription = Subscription(hub, *waiting, GatewayObserver(), idle_s=3600).begin()
                    await jobs.control.pause(job_id)
                    # The hub has delivered it to both.
                    await other[1].has(2)
                await waiting[1].has(2)
                await jobs.control.resume(job_id)
                await waiting[1].has(3)
                subscription.close()
            group.cancel_scope.cancel()


class CountedLog(ChangeLog):
    n_reads = 0

    async def read(self, queue: QueueName, *, after: str = "0-0", limit: int = 1000) -> list[LogEntry]:
        self.n_reads += 1
        return await super().read(queue, after=after, limit=limit)


class States(EndOnly):
    """Moves the cursor of its source, as an encoder does."""

    def __init__(self, log: ChangeLogSource) -> None:
        super().__init__()
        self._log, self._came, self.n = log, anyio.Event(), 0

    def push(self, batch: object) -> None:
        assert isinstance(batch, list)
        for entry in batch:
            self._log.advance(entry)
        self.n += len(batch)
        self._came.set()
        self._came = anyio.Event()

    async def has(self, n: int) -> None:
        while self.n < n:
            await self._came.wait()


async def test_a_stream_of_the_log_that_waits_for_its_turn_reads_each_queue_once(redis_url: str) -> None:
    async with bench(redis_url) as jobs:
        job_id, log = await jobs.submit(), CountedLog(jobs.nodes)
        hub = Hub(lambda: PubSubConnection(jobs.client), GatewayObserver(), n_readings=1)
        first, second = (
            ChangeLogSource(hub, each, partial(declared, jobs.nodes), {}) for each in (jobs.change_log, log)
        )
        other, waiting = States(first), States(second)
        await three_happen(jobs, job_id, hub, (first, other), (second, waiting))

    assert waiting.n == 3
    assert log.n_reads == len(JobKind)


class StopsAsItIsRead:
    """A source that never makes its reader wait, and stops the process while it is read."""

    def __init__(self, stop: Callable[[], None]) -> None:
        self.stop = stop
        self.channels: Collection[str] = frozenset({"a channel"})
        self.is_over, self.is_behind = False, True

    def miss(self, channel: str | None = None) -> None:
        self.is_behind = True

    def take(self, channel: str, notification: Notification) -> None:
        pass

    async def read(self) -> AsyncGenerator[None, None]:
        self.is_behind = False
        self.stop()
        for nothing in ():
            yield nothing


async def test_a_stream_whose_process_stops_while_it_reads_ends_once(redis_url: str) -> None:
    async with bench(redis_url) as jobs:
        hub, sink = Hub(lambda: PubSubConnection(jobs.client), GatewayObserver()), Ends()
        async with anyio.create_task_group() as group:
            group.start_soon(hub.run)
            subscription = Subscription(hub, StopsAsItIsRead(hub.close), sink, GatewayObserver(), idle_s=3600)
            with closing(subscription.begin()), anyio.fail_after(10):
                await sink.ended.wait()
                # Both ends would come without a wait.
                for _ in range(10):
                    await anyio.lowlevel.checkpoint()
            group.cancel_scope.cancel()

    assert sink.n_ends == 1
