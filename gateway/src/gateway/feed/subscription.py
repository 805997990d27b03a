"""The life of one open event stream, from stored events to live ones, without a gap. Knows no
transport.

It subscribes first, then reads what is stored, then listens. So it either reads an event or is
notified of it. Nothing is read of a job that was heard of from its first event on. While all is
well, a notification goes to the reader within the call that brings it, without a task. In every
other case (a number is missing, the reader is slow, the connection to Redis was cut) a task reads
the source to its end, and then the stream listens again. The gateway therefore keeps nothing for a
slow reader but its position.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection
from contextlib import aclosing
from typing import Generic, Protocol, Self, TypeVar

import anyio
from shared_schemas.backoff import Backoff
from shared_schemas.errors import BackendUnavailable

from gateway.eager import run_until_blocked
from gateway.feed.heard import Heard
from gateway.feed.hub import Hub, Notification, Signal
from gateway.instrument import GatewayObserver

SUBSCRIBE_S = 5.0

T = TypeVar("T")
B = TypeVar("B")
B_co = TypeVar("B_co", covariant=True)
B_contra = TypeVar("B_contra", contravariant=True)


class Source(Protocol[B_co]):
    """What a stream follows, and how far it has come. channels: where notifications of it arrive.
    is_over: no more events will come. is_behind: it missed a notification and must be read."""

    @property
    def channels(self) -> Collection[str]: ...
    @property
    def is_over(self) -> bool: ...
    @property
    def is_behind(self) -> bool: ...

    def miss(self, channel: str | None = None) -> None:
        """A notification of this channel was not taken. None: of any of its channels."""

    def take(self, channel: str, notification: Notification) -> B_co | None:
        """What is new in the notification. None if nothing is, or if the source is behind now."""

    def read(self) -> AsyncGenerator[B_co, None]:
        """Yield what was missed, until the source is no longer behind or is over, or the process is
        stopping."""


class Sink(Protocol[B_contra]):
    """Where a subscription sends batches. Nothing may be pushed while it is busy."""

    @property
    def is_busy(self) -> bool:
        """The last push has not been sent completely."""

    def push(self, batch: B_contra) -> None:
        """Begin to send the batch. Never waits: is_busy says whether something is left to send."""

    def keep_alive(self) -> None:
        """Show the reader that the stream is open."""

    async def flush(self) -> None:
        """Return when it is not busy."""

    async def end(self) -> None:
        """End the stream: it is complete."""

    async def cut(self) -> None:
        """End the stream incomplete, so that the reader reconnects."""

    def abort(self) -> None:
        """Close the connection at once."""


class EndOnly(Generic[B]):
    """A sink that only waits for the end. ended: the stream ended, complete or not."""

    is_busy = False

    def __init__(self) -> None:
        self.ended = asyncio.Event()

    def push(self, batch: B) -> None:
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
    """A Listener from `begin` to `close`. idle_s: after so many seconds without an event the source
    is read, because a lost notification leaves no trace. is_live: continue after everything stored
    has been read."""

    __slots__ = (
        "_active_at",
        "_channels",
        "_confirmed",
        "_has_ended",
        "_heard_on",
        "_hub",
        "_idle_s",
        "_is_listening",
        "_is_live",
        "_loop",
        "_observer",
        "_sink",
        "_source",
        "_task",
        "_timer",
        "_unconfirmed",
    )

    def __init__(
        self,
        hub: Hub,
        source: Source[B],
        sink: Sink[B],
        observer: GatewayObserver,
        *,
        idle_s: float,
        is_live: bool = True,
    ) -> None:
        self._hub, self._source, self._sink, self._observer = hub, source, sink, observer
        self._idle_s, self._is_live = idle_s, is_live
        self._channels: frozenset[str] = frozenset()
        self._unconfirmed: set[str] = set()
        self._confirmed: anyio.Event | None = None
        self._heard_on: int | None = None
        self._loop = asyncio.get_running_loop()
        self._task: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._active_at = self._loop.time()
        # _is_listening: all that is stored has been read, and notifications go to the sink at once.
        self._is_listening = self._has_ended = False

    def begin(self, heard: Heard | None = None) -> Self:
        """heard: of the jobs for which the source need not be read."""
        self._timer = self._loop.call_later(self._idle_s, self._check_idle)
        self._subscribe()
        if heard is None or not heard.job_ids:
            self._read()
        elif heard.has_missed:
            self._source.miss()
            self._read()
        else:
            self._heard_on, self._is_listening = heard.connection, True
            for channel, notification in heard.notifications():
                self.offer(channel, notification)
        return self

    def close(self) -> None:
        self._has_ended = True
        self._stop()
        self._hub.unsubscribe(self, self._channels)

    def expect(self, channel: str) -> None:
        self._unconfirmed.add(channel)

    def confirm(self, channel: str) -> None:
        is_again = channel not in self._unconfirmed
        is_other_connection = self._heard_on is not None and self._heard_on != self._hub.connection
        self._unconfirmed.discard(channel)
        if self._confirmed is not None and not self._unconfirmed:
            self._confirmed.set()
        if is_again or is_other_connection:
            self.warn(Signal.MISSED)

    def offer(self, channel: str, notification: Notification) -> None:
        if not self._is_listening:
            self._source.miss(channel)
            return
        try:
            batch = self._source.take(channel, notification)
            if batch is not None:
                self._active_at = self._loop.time()
                self._sink.push(batch)
        except Exception:  # an error in this stream must not keep the notification from the others
            self._fail()
            return
        if self._source.is_over and not (self._unconfirmed or self._sink.is_busy or self._hub.is_closing):
            # Nearly always this ends without waiting for anything.
            self._is_listening = False
            if (rest := run_until_blocked(self._guarded(self._catch_up))) is not None:
                self._task = asyncio.ensure_future(rest)
        elif self._source.is_behind or self._source.is_over or self._sink.is_busy:
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
            if self._is_listening:
                self._read()

    def _check_idle(self) -> None:
        wait_s = self._active_at + self._idle_s - self._loop.time()
        if wait_s <= 0:
            wait_s, self._active_at = self._idle_s, self._loop.time()
            try:
                if not self._sink.is_busy:
                    self._sink.keep_alive()
            except Exception:  # as in `offer`
                self._fail()
                return
            self.warn(Signal.MISSED)
        self._timer = self._loop.call_later(wait_s, self._check_idle)

    def _read(self) -> None:
        self._is_listening = False
        if not self._hub.is_closing:
            self._task = asyncio.create_task(self._guarded(self._catch_up))

    def _stop(self) -> None:
        self._is_listening = False
        if self._task is not None:
            self._task.cancel()
        if self._timer is not None:
            self._timer.cancel()

    def _fail(self) -> None:
        """While an exception is handled: close the connection. The reader can resume."""
        self._is_listening = False
        self._observer.stream_failed()
        self._sink.abort()

    async def _end(self, act: Callable[[], Awaitable[None]]) -> None:
        if self._has_ended:
            return
        # The reader may stay connected for a while, and nothing may be sent to it after the end.
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
        except Exception:  # as in `offer`
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
            # The response has begun, so the only way to report an error is to cut it. The reader
            # resumes after its last event.
            self._observer.stream_interrupted(error)
            await self._end(self._sink.cut)
            return
        if self._source.is_over:
            await self._end(self._sink.end)
        elif self._hub.is_closing:
            await self._end(self._sink.cut)
        elif not self._is_live:
            await self._end(self._sink.end)
        else:
            self._is_listening, self._task = True, None

    async def _all_confirmed(self) -> None:
        if not self._unconfirmed:
            return
        self._confirmed = anyio.Event()
        with anyio.move_on_after(SUBSCRIBE_S) as waiting:
            await self._confirmed.wait()
        if waiting.cancelled_caught:
            raise BackendUnavailable("Redis does not answer")


async def retry_while_redis_is_away(hub: Hub, read: Callable[[], Awaitable[T]]) -> T | None:
    """The result of `read`, tried again while Redis is away, so that streams stay open meanwhile.
    None: the process is stopping."""
    backoff = Backoff(first_s=0.25, jitter=0.0)
    with hub.cancelled_on_close():
        while not hub.is_closing:
            try:
                async with hub.reading:
                    return await read()
            except BackendUnavailable:
                await anyio.sleep(backoff.next_s())
    return None
