"""One subscription connection for the process, shared by every open stream. Knows channels, not
events.

A notification is a hint and may be lost. If some may have been, because the connection to Redis was
cut, the hub tells every listener to read its source again (MISSED). It keeps nothing: a stream that
cannot take a notification reads the event later.
"""

import asyncio
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from enum import Enum
from typing import Protocol, TypeVar, cast

import anyio
import anyio.lowlevel
from shared_schemas.backoff import Backoff
from shared_schemas.errors import BackendUnavailable
from shared_schemas.stream import keys
from shared_schemas.stream.pubsub import PubSubConnection

from gateway.instrument import GatewayObserver

# A channel without a listener is left with the next command, or after so many seconds: a command of
# its own would cost as much as the subscription.
_LEAVES_WITHIN_S = 0.05
# Listeners that receive a notification in one turn of the event loop: a few milliseconds.
_LISTENERS_A_TURN = 256

T = TypeVar("T")


class Signal(Enum):
    """MISSED: notifications may have been lost; read the source. CLOSING: the process stops."""

    MISSED = "missed"
    CLOSING = "closing"


class Notification:
    """One message of a channel."""

    __slots__ = ("_memo", "payload")

    def __init__(self, payload: bytes) -> None:
        self.payload = payload
        self._memo: dict[Callable[[Notification], object], object] = {}

    def memo(self, make: Callable[["Notification"], T]) -> T:
        """The result of `make`, which is called once for all listeners."""
        made = self._memo.get(make)
        if made is None:
            made = self._memo[make] = make(self)
        return cast(T, made)


class Listener(Protocol):
    """One open stream. No method may block: the next stream is notified when it returns."""

    def expect(self, channel: str) -> None:
        """The channel is not subscribed yet. `confirm` follows as soon as it is."""

    def confirm(self, channel: str) -> None:
        """Notifications arrive from now on: the channel was subscribed, for the first time or after
        a lost connection."""

    def offer(self, channel: str, notification: Notification) -> None: ...

    def warn(self, signal: Signal) -> None: ...


class Hub:
    """connect: makes a new pub/sub connection. n_readings: how many streams may read their source
    at the same time."""

    def __init__(
        self, connect: Callable[[], PubSubConnection], observer: GatewayObserver, *, n_readings: int = 2
    ) -> None:
        self._connect, self._observer = connect, observer
        # Streams that catch up take turns. Otherwise they would use up the connection pool, and new
        # requests would time out waiting for it.
        self.reading = anyio.CapacityLimiter(n_readings)
        self._pubsub: PubSubConnection | None = None
        self._n_connections = 0
        self._subscribers: dict[str, set[Listener]] = {}
        # Channels that this connection was asked for, those that it has confirmed, those that may
        # have no listener any more, and those that it is asked for in the next turn.
        self._requested: set[str] = set()
        self._confirmed: set[str] = set()
        self._left: set[str] = set()
        self._later: set[str] | None = None
        self._changed = anyio.Event()
        self._open_scopes: set[anyio.CancelScope] = set()
        self._closing = False

    @property
    def is_closing(self) -> bool:
        return self._closing

    @property
    def connection(self) -> int:
        """The number of the newest connection. A channel that is confirmed by a later one may have
        missed notifications."""
        return self._n_connections

    async def run(self) -> None:
        backoff = Backoff(first_s=0.05, cap_s=1.0, jitter=0.0)
        while True:
            try:
                async with self._connect() as pubsub:
                    await pubsub.subscribe(keys.GATEWAY_CHANNEL)
                    self._n_connections += 1
                    self._pubsub, self._requested = pubsub, set()
                    self._left.clear()
                    self._ask(self._subscribers)
                    async with anyio.create_task_group() as group:
                        group.start_soon(self._keep_subscribed, pubsub)
                        async for channel, payload in pubsub.messages():
                            backoff.reset()
                            if payload is None:
                                self._confirm(channel)
                            else:
                                await self._deliver(channel, Notification(payload))
            except* BackendUnavailable as errors:
                if backoff.is_fresh:
                    causes = sorted({str(error) for error in errors.exceptions})
                    self._observer.subscription_lost(causes)
            finally:
                self._pubsub = None
                self._confirmed.clear()
            await anyio.sleep(backoff.next_s())

    def close(self) -> None:
        """End every open stream."""
        self._closing = True
        self._warn_all(Signal.CLOSING)
        for scope in self._open_scopes:
            scope.cancel()

    @contextmanager
    def cancelled_on_close(self) -> Iterator[None]:
        """Cancel the block as soon as the process is stopping."""
        with anyio.CancelScope() as scope:
            if self._closing:
                scope.cancel()
            self._open_scopes.add(scope)
            try:
                yield
            finally:
                self._open_scopes.discard(scope)

    def recheck(self) -> None:
        """Have every open stream read its source again."""
        self._warn_all(Signal.MISSED)

    def subscribe(self, listener: Listener, channels: Iterable[str]) -> None:
        if self._closing:
            listener.warn(Signal.CLOSING)
        new = []
        for channel in channels:
            self._subscribers.setdefault(channel, set()).add(listener)
            if channel not in self._confirmed:
                listener.expect(channel)
            if channel not in self._requested:
                new.append(channel)
        if self._later is not None:
            self._later.update(new)
        elif new:
            self._ask_or_wake(new)
            # Further listeners of this turn of the event loop share one command, sent in the next
            # turn before anything that they do then.
            self._later = set()
            asyncio.get_running_loop().call_soon(self._ask_for_later)

    def _ask_for_later(self) -> None:
        later, self._later = self._later or set(), None
        # Some may have no listener any more.
        self._ask_or_wake((later - self._requested).intersection(self._subscribers))

    def _ask_or_wake(self, channels: Collection[str]) -> None:
        try:
            self._ask(channels)
        except BackendUnavailable:
            # `_keep_subscribed` raises it as well.
            self._changed.set()

    def unsubscribe(self, listener: Listener, channels: Iterable[str]) -> None:
        for channel in channels:
            group = self._subscribers[channel]
            group.discard(listener)
            if not group:
                del self._subscribers[channel]
                self._left.add(channel)
        self._changed.set()

    def _ask(self, channels: Collection[str]) -> None:
        """Ask for channels before anything else is sent to Redis in this turn of the event loop."""
        if self._pubsub is not None and channels:
            self._requested.update(channels)
            self._pubsub.ask(subscribe=channels, unsubscribe=self._unused())

    def _unused(self) -> Collection[str]:
        """The channels to leave now."""
        unused = self._left.difference(self._subscribers)
        self._left.clear()
        self._requested -= unused
        self._confirmed -= unused
        return unused

    async def _keep_subscribed(self, pubsub: PubSubConnection) -> None:
        """Leave the channels that have no listener any more, unless `_ask` does so first."""
        while True:
            await self._changed.wait()
            await anyio.sleep(_LEAVES_WITHIN_S)
            self._changed = anyio.Event()
            pubsub.ask(unsubscribe=self._unused())

    def _confirm(self, channel: str) -> None:
        # The confirmation may come after all listeners have left.
        if channel in self._requested:
            self._confirmed.add(channel)
        for listener in list(self._subscribers.get(channel, ())):
            listener.confirm(channel)

    async def _deliver(self, channel: str, notification: Notification) -> None:
        # A copy: a stream that ends unsubscribes.
        listeners = list(self._subscribers.get(channel, ()))
        for start in range(0, len(listeners), _LISTENERS_A_TURN):
            if start:
                await anyio.lowlevel.checkpoint()
            for listener in listeners[start : start + _LISTENERS_A_TURN]:
                listener.offer(channel, notification)

    def _warn_all(self, signal: Signal) -> None:
        for listener in {listener for group in self._subscribers.values() for listener in group}:
            listener.warn(signal)
