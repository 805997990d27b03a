"""Decides which waiting rows run together. Pure: it reads no clock, does no I/O and knows neither models nor tasks.

An item is one row, or several rows that may run apart. Items of one shape form a bucket, and a batch has rows of one
bucket. All rows of a bucket have the same padded shape, so a batch of n rows costs n times the elements of one. That
product is limited.

The items of a bucket take turns. An item that has more rows than its turn goes to the end of the bucket, so a long list
never makes a single row wait for all of it.
"""

from collections import deque
from collections.abc import Hashable, Sequence
from typing import Annotated, Generic, NamedTuple, Protocol, TypeVar

import msgspec
from msgspec import Meta

# The part of a batch that one item gets in a turn while others wait.
_TURN = 4


class BatchLimits(msgspec.Struct, frozen=True, kw_only=True):
    """max_batch: the most rows in one run. max_elements: the most elements in one run, with padding;
    a single row may exceed it, since it could never run otherwise. max_wait_ms: how long a batch
    that is not full waits for more rows; with 0 it holds what arrived while the model was busy,
    and an idle model never waits."""

    max_batch: Annotated[int, Meta(ge=1, le=4096)] = 128
    max_elements: Annotated[int, Meta(ge=1)] = 16_384
    max_wait_ms: Annotated[float, Meta(ge=0.0, le=10_000.0)] = 0.0

    def room(self, elements: int) -> int:
        """How many rows of so many elements a run may have."""
        return max(1, min(self.max_batch, self.max_elements // max(1, elements)))


class Waiting(Protocol):
    """cancelled: nobody waits for this item any more."""

    @property
    def cancelled(self) -> bool: ...


T = TypeVar("T", bound=Waiting)


class Part(NamedTuple, Generic[T]):
    """The rows of an item from `first` up to, but without, `end`."""

    item: T
    first: int
    end: int

    @property
    def n_rows(self) -> int:
        return self.end - self.first


def n_rows_of(parts: Sequence[Part[T]]) -> int:
    return sum(part.end - part.first for part in parts)


def halves(parts: Sequence[Part[T]]) -> tuple[list[Part[T]], list[Part[T]]]:
    """parts: of at least two rows. -> the first half of their rows, and the rest"""
    left, before, after = n_rows_of(parts) // 2, list[Part[T]](), list[Part[T]]()
    for part in parts:
        middle = part.first + min(left, part.n_rows)
        if middle > part.first:
            before.append(Part(part.item, part.first, middle))
        if middle < part.end:
            after.append(Part(part.item, middle, part.end))
        left -= middle - part.first
    return before, after


class _Entry(Generic[T]):
    """arrived: in seconds, of the item or of its last turn. first: its first row that is in no batch yet."""

    __slots__ = ("arrived", "end", "first", "item")

    def __init__(self, item: T, end: int, arrived: float) -> None:
        self.item, self.first, self.end, self.arrived = item, 0, end, arrived


class _Bucket(Generic[T]):
    """elements: of one row, padded. entries: the one that has waited longest first."""

    def __init__(self, elements: int) -> None:
        self.elements = elements
        self.entries: deque[_Entry[T]] = deque()

    def drop_cancelled_head(self) -> None:
        while self.entries and self.entries[0].item.cancelled:
            self.entries.popleft()


class Batcher(Generic[T]):
    def __init__(self, limits: BatchLimits) -> None:
        self._limits = limits
        self._max_wait_s = limits.max_wait_ms / 1000
        self._buckets: dict[Hashable, _Bucket[T]] = {}

    def append(self, item: T, *, shape: Hashable, elements: int, now: float, rows: int = 1) -> None:
        """elements: how many numbers a row has once it is padded to `shape`; equal for equal shapes. now: in
        seconds, never less than in an earlier call. rows: of the item, at least 1."""
        bucket = self._buckets.get(shape)
        if bucket is None:
            bucket = self._buckets[shape] = _Bucket(elements)
        bucket.entries.append(_Entry(item, rows, now))

    def next_batch(self, now: float, *, only_full: bool = False) -> list[Part[T]]:
        """The batch that should run next, empty if none is ready. It comes from the ready bucket whose first item has
        waited longest, so no shape starves. only_full: skip a batch that could still grow."""
        chosen: Hashable = None
        oldest = float("inf")
        for shape, bucket in self._live_buckets():
            arrived = bucket.entries[0].arrived
            if arrived < oldest and self._is_ready(bucket, arrived, now, only_full=only_full):
                chosen, oldest = shape, arrived
        if oldest == float("inf"):
            return []
        return self._take(chosen, now)

    def wait_s(self, now: float) -> float | None:
        """Seconds until next_batch returns a batch even if nothing else arrives; None if nothing waits."""
        waits = [
            0.0 if self._is_full(bucket) else bucket.entries[0].arrived + self._max_wait_s - now
            for _, bucket in self._live_buckets()
        ]
        return max(0.0, min(waits)) if waits else None

    def drain(self) -> list[T]:
        """Remove and return everything that still waits."""
        left = [entry.item for bucket in self._buckets.values() for entry in bucket.entries if not entry.item.cancelled]
        self._buckets.clear()
        return left

    def _live_buckets(self) -> list[tuple[Hashable, _Bucket[T]]]:
        for bucket in self._buckets.values():
            bucket.drop_cancelled_head()
        self._buckets = {shape: bucket for shape, bucket in self._buckets.items() if bucket.entries}
        return list(self._buckets.items())

    def _is_ready(self, bucket: _Bucket[T], arrived: float, now: float, *, only_full: bool) -> bool:
        if self._is_full(bucket):
            return True
        # The same sum as in wait_s, because a difference of two clock readings may round to just below the limit.
        return not only_full and now >= arrived + self._max_wait_s

    def _is_full(self, bucket: _Bucket[T]) -> bool:
        left = self._limits.room(bucket.elements)
        for entry in bucket.entries:
            if not entry.item.cancelled:
                left -= entry.end - entry.first
                if left <= 0:
                    return True
        return False

    def _take(self, shape: Hashable, now: float) -> list[Part[T]]:
        bucket = self._buckets[shape]
        room = self._limits.room(bucket.elements)
        turn, taken = max(1, room // _TURN), dict[int, Part[T]]()
        while bucket.entries and room:
            entry = bucket.entries.popleft()
            if entry.item.cancelled:
                continue
            n = min(entry.end - entry.first, room, turn if bucket.entries else room)
            part = taken.get(id(entry), Part(entry.item, entry.first, entry.first))
            entry.first += n
            taken[id(entry)] = Part(entry.item, part.first, entry.first)
            room -= n
            if entry.first < entry.end:
                entry.arrived = now
                bucket.entries.append(entry)
        if not bucket.entries:
            del self._buckets[shape]
        return list(taken.values())
