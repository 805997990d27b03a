"""One subscription connection for the process, shared by every open stream. Knows channels, not events.

A notification is a hint and may be lost. If some may have been, because the connection to Redis was cut, the hub tells
every listener to read its source again (MISSED). It keeps nothing: a stream that cannot take a notification reads the
event later.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from enum import Enum
from typing import Protocol, TypeVar, cast

import anyio
import anyio.lowlevel
import structlog
from shared_schemas.backoff import Backoff
from shared_schemas.errors import BackendUnavailable
from shared_schemas.stream import keys
from shared_schemas.stream.pubsub import PubSubConnection

# Then others have theirs: a few milliseconds.
_LINES_A_TURN = 256

T = TypeVar("T")


class Signal(Enum):
    """MISSED: notifications may have been lost, read the timeline. CLOSING: the process is going away."""

    MISSED = "missed"
    CLOSING = "closing"


class Notification:
    """One message of a channel. memo: what a function makes of it, made once for all listeners."""

    __slots__ = ("_made", "payload")

    def __init__(self, payload: bytes) -> None:
        self.payload = payload
        self._made: dict[Callable[[Notification], object], object] = {}

    def memo(self, make: Callable[["Notification"], T]) -> T:
        made = self._made.get(make)
        if made is None:
            made = self._made[make] = make(self)
        return cast(T, made)


class Listener(Protocol):
    """One open line. None of these may wait: the next line's turn comes when they return."""

    def expect(self, channel: str) -> None:
        """The channel is being subscribed; `confirm` tells when notifications arrive."""

    def confirm(self, channel: str) -> None:
        """The channel is subscribed, or subscribed again after the connection was cut."""

    def offer(self, channel: str, notification: Notification) -> None: ...

    def warn(self, signal: Signal) -> None: ...


class _NullListener:
    def expect(self, channel: str) -> None:
        pass

    def confirm(self, channel: str) -> None:
        pass

    def offer(self, channel: str, notification: Notification) -> None:
        pass

    def warn(self, signal: Signal) -> None:
        pass


class Hub:
    """connect: makes a new pub/sub connection. n_readings: how many lines may read at once."""

    def __init__(self, connect: Callable[[], PubSubConnection], *, n_readings: int = 2) -> None:
        self._make = connect
        # In turn: lines that catch up would otherwise keep new requests from the pool until those give up.
        self.reading = anyio.CapacityLimiter(n_readings)
        self._subscribers: dict[str, set[Listener]] = {}
        self._asked: set[str] = set()
        self._confirmed: set[str] = set()
        self._changed = anyio.Event()
        self._while_open: set[anyio.CancelScope] = set()
        self._closing = False

    @property
    def is_closing(self) -> bool:
        return self._closing

    async def run(self) -> None:
        backoff = Backoff(first_s=0.05, cap_s=1.0, jitter=0.0)
        while True:
            try:
                async with self._make() as pubsub:
                    await pubsub.subscribe(keys.GATEWAY_CHANNEL)
                    async with anyio.create_task_group() as group:
                        group.start_soon(self._keep_asked, pubsub)
                        async for channel, payload in pubsub.messages():
                            backoff.reset()
                            if payload is None:
                                self._confirm(channel)
                            else:
                                await self._hand_out(channel, Notification(payload))
            except* BackendUnavailable as errors:
                if backoff.is_fresh:
                    causes = sorted({str(error) for error in errors.exceptions})
                    structlog.get_logger().warning("subscription_lost", causes=causes)
            finally:
                self._confirmed.clear()
            await anyio.sleep(backoff.next_s())

    def close(self) -> None:
        """End every open line."""
        self._closing = True
        self._warn_all(Signal.CLOSING)
        for scope in self._while_open:
            scope.cancel()

    @contextmanager
    def while_open(self) -> Iterator[None]:
        """The block is left as soon as the process is closing."""
        with anyio.CancelScope() as scope:
            if self._closing:
                scope.cancel()
            self._while_open.add(scope)
            try:
                yield
            finally:
                self._while_open.discard(scope)

    def recheck(self) -> None:
        """Have every open line look again at what it follows."""
        self._warn_all(Signal.MISSED)

    @contextmanager
    def expecting(self, channel: str) -> Iterator[None]:
        """Have the channel subscribed while something else is waited for: whoever listens to it next need not wait."""
        listener = _NullListener()
        self.subscribe(listener, [channel])
        try:
            yield
        finally:
            self.unsubscribe(listener, [channel])

    def subscribe(self, listener: Listener, channels: Iterable[str]) -> None:
        if self._closing:
            listener.warn(Signal.CLOSING)
        for channel in channels:
            self._subscribers.setdefault(channel, set()).add(listener)
            if channel not in self._confirmed:
                listener.expect(channel)
        self._changed.set()

    def unsubscribe(self, listener: Listener, channels: Iterable[str]) -> None:
        for channel in channels:
            group = self._subscribers[channel]
            group.discard(listener)
            if not group:
                del self._subscribers[channel]
        self._changed.set()

    async def _keep_asked(self, pubsub: PubSubConnection) -> None:
        """Subscribe to what is wanted. One task does it for all, because a line that goes away in the middle of a
        command would break the connection of the others, and two commands could overtake each other."""
        self._asked = set()
        while True:
            self._changed = anyio.Event()
            wanted = set(self._subscribers)
            new, unused = wanted - self._asked, self._asked - wanted
            self._asked = wanted
            self._confirmed &= wanted
            if new:
                await pubsub.subscribe(*new)
            if unused:
                await pubsub.unsubscribe(*unused)
            await self._changed.wait()

    def _confirm(self, channel: str) -> None:
        # It may come after everyone has left again.
        if channel in self._asked:
            self._confirmed.add(channel)
        for listener in list(self._subscribers.get(channel, ())):
            listener.confirm(channel)

    async def _hand_out(self, channel: str, notification: Notification) -> None:
        # A line that ends is no listener any more.
        listeners = list(self._subscribers.get(channel, ()))
        for start in range(0, len(listeners), _LINES_A_TURN):
            if start:
                await anyio.lowlevel.checkpoint()
            for listener in listeners[start : start + _LINES_A_TURN]:
                listener.offer(channel, notification)

    def _warn_all(self, signal: Signal) -> None:
        for listener in {listener for group in self._subscribers.values() for listener in group}:
            listener.warn(signal)
