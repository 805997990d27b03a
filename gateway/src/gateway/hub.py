"""One subscription connection for the process, shared by every open line. Knows channels, not events.

A bell is a hint. A subscriber whose buffer is full, or whose line to Redis was cut, is told to read the timeline
again (MISSED); nothing is ever lost, so a slow reader costs a bounded buffer and no more.
"""

from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from enum import Enum

import anyio
import structlog
from shared_schemas.errors import BackendUnavailable
from shared_schemas.stream.timeline import Doorbells

BUFFERED_RINGS = 256
BUFFERED_BYTES = 1 << 20
_OWN_CHANNEL = "{hr}:gateway"
_SHORTEST_S, _LONGEST_S = 0.05, 1.0


Rings = list[tuple[str, bytes]]


class Signal(Enum):
    """MISSED: rings may have been lost, read the timeline. CLOSING: the process is going away."""

    MISSED = "missed"
    CLOSING = "closing"


class Subscriber:
    """What one open line waits on: rings of its channels, in order."""

    def __init__(self) -> None:
        self._rings: deque[tuple[str, bytes]] = deque()
        self._n_bytes = 0
        self._signal: Signal | None = None
        self._woken = anyio.Event()
        self._silent_channels: set[str] = set()

    async def ready(self) -> None:
        """Return once every channel is subscribed: what happens from now on rings."""
        while self._silent_channels and self._signal is not Signal.CLOSING:
            self._woken = anyio.Event()
            await self._woken.wait()

    async def next(self, *, timeout_s: float) -> Rings | Signal:
        """The rings since the last call, at least one; empty after timeout_s."""
        with anyio.move_on_after(timeout_s):
            while self._signal is None and not self._rings:
                self._woken = anyio.Event()
                await self._woken.wait()
        if self._signal is Signal.CLOSING:
            return Signal.CLOSING
        if self._signal is Signal.MISSED:
            self._signal = None
            return Signal.MISSED
        rings = list(self._rings)
        self._forget()
        return rings

    def expect(self, channel: str) -> None:
        self._silent_channels.add(channel)

    def confirm(self, channel: str) -> None:
        """The channel is subscribed, or subscribed again after the line was cut."""
        if channel in self._silent_channels:
            self._silent_channels.discard(channel)
            self._woken.set()
        else:
            self.warn(Signal.MISSED)

    def offer(self, channel: str, payload: bytes) -> None:
        if len(self._rings) >= BUFFERED_RINGS or self._n_bytes + len(payload) > BUFFERED_BYTES:
            self.warn(Signal.MISSED)
        if self._signal is None:
            self._rings.append((channel, payload))
            self._n_bytes += len(payload)
        self._woken.set()

    def warn(self, signal: Signal) -> None:
        if self._signal is not Signal.CLOSING:
            self._signal = signal
        self._forget()
        self._woken.set()

    def _forget(self) -> None:
        self._rings.clear()
        self._n_bytes = 0


class Hub:
    """doorbells: makes a new subscription connection. n_readings: how many lines may read at once."""

    def __init__(self, doorbells: Callable[[], Doorbells], *, n_readings: int = 2) -> None:
        self._make = doorbells
        # In turn: lines that catch up would otherwise keep new requests from the pool until those give up.
        self.reading = anyio.CapacityLimiter(n_readings)
        self._subscribers: dict[str, set[Subscriber]] = {}
        self._asked: set[str] = set()
        self._confirmed: set[str] = set()
        self._changed = anyio.Event()
        self._while_open: set[anyio.CancelScope] = set()
        self._closing = False

    @property
    def is_closing(self) -> bool:
        return self._closing

    async def run(self) -> None:
        wait_s = _SHORTEST_S
        while True:
            try:
                async with self._make() as bells:
                    await bells.add(_OWN_CHANNEL)
                    async with anyio.create_task_group() as group:
                        group.start_soon(self._keep_asked, bells)
                        async for channel, payload in bells.rings():
                            wait_s = _SHORTEST_S
                            self._hand_out(channel, payload)
            except* BackendUnavailable as errors:
                if wait_s == _SHORTEST_S:
                    causes = sorted({str(error) for error in errors.exceptions})
                    structlog.get_logger().warning("subscription_lost", causes=causes)
            finally:
                self._confirmed.clear()
            await anyio.sleep(wait_s)
            wait_s = min(_LONGEST_S, wait_s * 2)

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

    @asynccontextmanager
    async def subscribe(self, *channels: str) -> AsyncIterator[Subscriber]:
        """Await ready() before reading the timeline."""
        subscriber = Subscriber()
        if self._closing:
            subscriber.warn(Signal.CLOSING)
        for channel in channels:
            self._subscribers.setdefault(channel, set()).add(subscriber)
            if channel not in self._confirmed:
                subscriber.expect(channel)
        self._changed.set()
        try:
            yield subscriber
        finally:
            for channel in channels:
                group = self._subscribers[channel]
                group.discard(subscriber)
                if not group:
                    del self._subscribers[channel]
            self._changed.set()

    async def _keep_asked(self, bells: Doorbells) -> None:
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
                await bells.add(*new)
            if unused:
                await bells.remove(*unused)
            await self._changed.wait()

    def _hand_out(self, channel: str, payload: bytes | None) -> None:
        # A confirmation may come after everyone has left again.
        if payload is None and channel in self._asked:
            self._confirmed.add(channel)
        for subscriber in self._subscribers.get(channel, ()):
            if payload is None:
                subscriber.confirm(channel)
            else:
                subscriber.offer(channel, payload)

    def _warn_all(self, signal: Signal) -> None:
        for subscriber in {subscriber for group in self._subscribers.values() for subscriber in group}:
            subscriber.warn(signal)
