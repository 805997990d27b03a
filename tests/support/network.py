"""What a bad network does to the connections through it: a plan that a test may change while they are open.

Opens no socket.
"""

import asyncio
import random
import threading
from collections.abc import Callable
from enum import Enum
from typing import Protocol

import anyio.to_thread
import msgspec


class Way(Enum):
    OUT = "to the target"
    BACK = "from the target"


BOTH = frozenset(Way)


class Traits(Protocol):
    """What identifies a connection. number: counted from 0. client: its CLIENT SETNAME. commands: the names of the
    commands seen so far."""

    number: int
    client: str
    commands: set[str]


Choice = Callable[[Traits], bool]


def every(_: Traits) -> bool:
    return True


def subscriptions(connection: Traits) -> bool:
    return "SUBSCRIBE" in connection.commands


class Conditions(msgspec.Struct, frozen=True, kw_only=True):
    """The state of a connection.

    delay_s, jitter_s: of each chunk, each way, evenly spread over delay_s ± jitter_s. Chunks stay in order.
    bytes_per_s: each way. resets: the share of chunks at which the connection is reset. held: the ways on which nothing
    gets through for now. It arrives once the network is healed, because TCP sends unconfirmed bytes again. lost: the
    ways on which all bytes vanish for good, and so does the close of the connection.
    """

    delay_s: float = 0.0
    jitter_s: float = 0.0
    bytes_per_s: float = float("inf")
    resets: float = 0.0
    held: frozenset[Way] = frozenset()
    lost: frozenset[Way] = frozenset()


class Sighting:
    """Counts how often something happened in the network, and lets a test in any thread wait for it."""

    def __init__(self) -> None:
        self.count = 0
        self._changed = threading.Condition()

    def tell(self) -> None:
        with self._changed:
            self.count += 1
            self._changed.notify_all()

    def wait(self, times: int = 1, *, within_s: float = 20.0) -> None:
        with self._changed:
            if not self._changed.wait_for(lambda: self.count >= times, within_s):
                raise TimeoutError(f"seen {self.count} times instead of {times}")

    async def happened(self, times: int = 1, *, within_s: float = 20.0) -> None:
        await anyio.to_thread.run_sync(lambda: self.wait(times, within_s=within_s), abandon_on_cancel=True)


class Watch:
    """Looks for a command, or for its reply. times: how often; None for always."""

    def __init__(self, command: str, *, containing: str = "", on: Choice = every, times: int | None = None) -> None:
        self._command, self._containing, self._on, self._left = command, containing.encode(), on, times
        self.sighting = Sighting()

    def is_due(self, connection: Traits, command: str, text: bytes) -> bool:
        if self._left == 0 or command != self._command or self._containing not in text or not self._on(connection):
            return False
        if self._left is not None:
            self._left -= 1
        return True


class Network:
    """The plan. Only the loop of the proxy may touch it. seed: of jitter and resets."""

    def __init__(self, *, seed: int) -> None:
        self.rules: list[tuple[Choice, Conditions]] = []
        self.passing, self.dropping = list[Watch](), list[Watch]()
        self._random = random.Random(seed)
        self._changed = asyncio.Event()

    def notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    def conditions(self, connection: Traits) -> Conditions:
        return next((conditions for on, conditions in self.rules if on(connection)), Conditions())

    async def until_let_through(self, connection: Traits, way: Way) -> None:
        while way in self.conditions(connection).held:
            await self._changed.wait()

    def delay_s(self, connection: Traits) -> float:
        conditions = self.conditions(connection)
        return max(0.0, conditions.delay_s + self._random.uniform(-1.0, 1.0) * conditions.jitter_s)

    def is_reset(self, connection: Traits) -> bool:
        return self._random.random() < self.conditions(connection).resets

    def pass_command(self, connection: Traits, name: str, command: bytes) -> None:
        for watch in self.passing:
            if watch.is_due(connection, name, command):
                watch.sighting.tell()

    def drop_of(self, connection: Traits, name: str, exchange: bytes) -> Sighting | None:
        """The sighting to count if the reply is to be dropped, else None. exchange: the command and its reply."""
        return next((watch.sighting for watch in self.dropping if watch.is_due(connection, name, exchange)), None)
