"""The life of one open event stream, from stored events to live ones, without a gap. Knows no transport.

It subscribes first, then reads what is stored, then listens. So it either reads an event or is notified of it. While
all is well, a notification goes to the reader within the call that brings it, without a task. In every other case (a
number is missing, the reader is slow, the connection to Redis was cut) a task reads the source to its end, and then
the stream listens again. The gateway therefore keeps nothing for a slow reader but its position.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection
from contextlib import aclosing
from typing import Generic, Protocol, Self, TypeVar

import anyio
import structlog
from shared_schemas.backoff import Backoff
from shared_schemas.errors import BackendUnavailable

from gateway.feed.hub import Hub, Notification, Signal

SUBSCRIBE_S = 5.0

T = TypeVar("T")
B = TypeVar("B")
B_co = TypeVar("B_co", covariant=True)
B_contra = TypeVar("B_contra", contravariant=True)


class Source(Protocol[B_co]):
    """What is followed, and how far. channels: those that notify of it. is_over: there will be no more. is_behind: it
    has missed something, and must be read."""

    @property
    def channels(self) -> Collection[str]: ...
    @property
    def is_over(self) -> bool: ...
    @property
    def is_behind(self) -> bool: ...

    def miss(self, channel: str | None = None) -> None:
        """A notification of this channel was not taken; None: of any channel."""

    def take(self, channel: str, notification: Notification) -> B_co | None:
        """What is new in a notification; None if there is nothing, or if it has fallen behind."""

    def read(self) -> AsyncGenerator[B_co, None]:
        """What was missed, until it is behind no more, over, or the process closes."""


class Sink(Protocol[B_contra]):
    """Where it goes."""

    @property
    def is_busy(self) -> bool:
        """What it was given last is still on its way."""

    def push(self, batch: B_contra) -> None:
        """While it is not busy. Without waiting: is_busy tells whether all of it is through."""

    def keep_alive(self) -> None:
        """While it is not busy: show that the line is open."""

    async def flush(self) -> None:
        """Return when it is not busy."""

    async def end(self) -> None:
        """All that there is has been given."""

    async def cut(self) -> None:
        """There may be more, and not from here: the reader is to come again."""

    def abort(self) -> None: ...


class EndOnly:
    """A sink for whoever waits for the end alone. ended: there will be no more, or no more can be had."""

    is_busy = False

    def __init__(self) -> None:
        self.ended = anyio.Event()

    def push(self, batch: object) -> None:
        pass

    def keep_alive(self) -> None:
        pass

    async def flush(self) -> None:
        pass

    async def end(self) -> None:
        self.ended.set()

    async def cut(self) -> None:
        self.ended.set()

    def abort(self) -> None:
        self.ended.set()


class Subscription(Generic[B]):
    """It listens from `begin` to `close`. idle_s: after so long a silence the source is read, because a
    notification may be lost without a trace. is_live: go on once all has been read."""

    __slots__ = (
        "_active_at",
        "_channels",
        "_confirmed",
        "_goes_on",
        "_has_ended",
        "_hub",
        "_idle_s",
        "_is_live",
        "_loop",
        "_silent",
        "_sink",
        "_source",
        "_task",
        "_timer",
    )

    def __init__(self, hub: Hub, source: Source[B], sink: Sink[B], *, idle_s: float, is_live: bool = True) -> None:
        self._hub, self._source, self._sink = hub, source, sink
        self._idle_s, self._goes_on = idle_s, is_live
        self._channels: frozenset[str] = frozenset()
        self._silent: set[str] = set()
        self._confirmed: anyio.Event | None = None
        self._loop = asyncio.get_running_loop()
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._active_at = self._loop.time()
        # It takes every notification, and has read all that came before.
        self._is_live = self._has_ended = False

    def begin(self) -> Self:
        self._timer = self._loop.call_later(self._idle_s, self._look)
        self._subscribe()
        self._read()
        return self

    def close(self) -> None:
        self._has_ended = True
        self._stop()
        self._hub.unsubscribe(self, self._channels)

    def expect(self, channel: str) -> None:
        self._silent.add(channel)

    def confirm(self, channel: str) -> None:
        if channel not in self._silent:
            self.warn(Signal.MISSED)
            return
        self._silent.discard(channel)
        if self._confirmed is not None and not self._silent:
            self._confirmed.set()

    def offer(self, channel: str, notification: Notification) -> None:
        if not self._is_live:
            self._source.miss(channel)
            return
        try:
            batch = self._source.take(channel, notification)
            if batch is not None:
                self._active_at = self._loop.time()
                self._sink.push(batch)
        except Exception:  # whatever is wrong with this line, the others are heard
            self._fail()
            return
        if self._source.is_behind or self._source.is_over or self._sink.is_busy:
            self._read()

    def warn(self, signal: Signal) -> None:
        if self._has_ended:
            return
        if signal is Signal.CLOSING:
            self._has_ended = True
            self._stop()
            self._task = asyncio.create_task(self._guarded(self._sink.cut))
        else:
            self._source.miss()
            if self._is_live:
                self._read()

    def _look(self) -> None:
        wait_s = self._active_at + self._idle_s - self._loop.time()
        if wait_s <= 0:
            wait_s, self._active_at = self._idle_s, self._loop.time()
            try:
                if not self._sink.is_busy:
                    self._sink.keep_alive()
            except Exception:  # as in offer
                self._fail()
                return
            self.warn(Signal.MISSED)
        self._timer = self._loop.call_later(wait_s, self._look)

    def _read(self) -> None:
        self._is_live = False
        if not self._hub.is_closing:
            self._task = asyncio.create_task(self._guarded(self._catch_up))

    def _stop(self) -> None:
        self._is_live = False
        if self._task is not None:
            self._task.cancel()
        if self._timer is not None:
            self._timer.cancel()

    def _fail(self) -> None:
        """While an exception is handled. The line is cut, and its reader resumes."""
        self._is_live = False
        structlog.get_logger().exception("stream_failed")
        self._sink.abort()

    async def _end(self, act: Callable[[], Awaitable[None]]) -> None:
        if self._has_ended:
            return
        # The reader may take a while to leave, and what came after the end would not be of the answer any more.
        self._has_ended = True
        if self._timer is not None:
            self._timer.cancel()
        await act()

    def _subscribe(self) -> None:
        wanted = frozenset(self._source.channels)
        self._hub.subscribe(self, wanted - self._channels)
        self._hub.unsubscribe(self, self._channels - wanted)
        self._channels = wanted

    async def _guarded(self, act: Callable[[], Awaitable[None]]) -> None:
        try:
            await act()
        except Exception:  # as in offer
            self._fail()

    async def _catch_up(self) -> None:
        try:
            await self._all_confirmed()
            await self._sink.flush()
            while self._source.is_behind and not self._source.is_over:
                async with aclosing(self._source.read()) as batches:
                    async for batch in batches:
                        self._sink.push(batch)
                        self._active_at = self._loop.time()
                        await self._sink.flush()
                if self._source.channels != self._channels:
                    self._subscribe()
                    await self._all_confirmed()
                    self._source.miss()
        except BackendUnavailable as error:
            # The answer has begun, so it can only be cut; the reader resumes from its last event.
            structlog.get_logger().warning("stream_interrupted", error=str(error))
            await self._end(self._sink.cut)
            return
        if self._source.is_over:
            await self._end(self._sink.end)
        elif self._hub.is_closing:
            await self._end(self._sink.cut)
        elif not self._goes_on:
            await self._end(self._sink.end)
        else:
            self._is_live, self._task = True, None

    async def _all_confirmed(self) -> None:
        if not self._silent:
            return
        self._confirmed = anyio.Event()
        with anyio.move_on_after(SUBSCRIBE_S) as waiting:
            await self._confirmed.wait()
        if waiting.cancelled_caught:
            raise BackendUnavailable("Redis does not answer")


async def retry_while_redis_is_away(hub: Hub, read: Callable[[], Awaitable[T]]) -> T | None:
    """What `read` gives, as soon as Redis can: a line stays open while Redis is away. None: the process is closing."""
    backoff = Backoff(first_s=0.25, jitter=0.0)
    with hub.while_open():
        while not hub.is_closing:
            try:
                async with hub.reading:
                    return await read()
            except BackendUnavailable:
                await anyio.sleep(backoff.next_s())
    return None
