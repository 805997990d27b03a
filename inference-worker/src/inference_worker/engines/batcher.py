"""Decides which waiting items run together. Pure: it reads no clock, does no I/O and knows neither models nor tasks.

Items of one shape form a bucket, and a batch is the oldest part of one bucket. All items of a bucket have the same
padded shape, so a batch of n items costs n times the elements of one. That product is limited.
"""

from collections import deque
from collections.abc import Hashable
from itertools import islice
from typing import Annotated, Generic, Protocol, TypeVar

import msgspec
from msgspec import Meta


class BatchLimits(msgspec.Struct, frozen=True, kw_only=True):
    """max_batch: the most items in one run. max_elements: the most elements in one run, with padding;
    a single item may exceed it, since it could never run otherwise. max_wait_ms: how long a batch
    that is not full waits for more items; with 0 it holds what arrived while the model was busy,
    and an idle model never waits."""

    max_batch: Annotated[int, Meta(ge=1, le=4096)] = 32
    max_elements: Annotated[int, Meta(ge=1)] = 16_384
    max_wait_ms: Annotated[float, Meta(ge=0.0, le=10_000.0)] = 0.0


class Waiting(Protocol):
    """cancelled: nobody waits for this item any more."""

    @property
    def cancelled(self) -> bool: ...


T = TypeVar("T", bound=Waiting)


class _Bucket(Generic[T]):
    """elements: of one item, padded. entries: (arrival in seconds, item), oldest first."""

    def __init__(self, elements: int) -> None:
        self.elements = elements
        self.entries: deque[tuple[float, T]] = deque()

    def drop_cancelled_head(self) -> None:
        while self.entries and self.entries[0][1].cancelled:
            self.entries.popleft()


class Batcher(Generic[T]):
    def __init__(self, limits: BatchLimits) -> None:
        self._limits = limits
        self._max_wait_s = limits.max_wait_ms / 1000
        self._buckets: dict[Hashable, _Bucket[T]] = {}

    def append(self, item: T, *, shape: Hashable, elements: int, now: float) -> None:
        """elements: how many numbers the item has once it is padded to `shape`; equal for equal shapes. now: in
        seconds, never less than in an earlier call."""
        bucket = self._buckets.get(shape)
        if bucket is None:
            bucket = self._buckets[shape] = _Bucket(elements)
        bucket.entries.append((now, item))

    def next_batch(self, now: float, *, only_full: bool = False) -> list[T]:
        """The batch that should run next, empty if none is ready. It comes from the ready bucket whose first item has
        waited longest, so no shape starves. only_full: skip a batch that could still grow."""
        chosen: Hashable = None
        oldest = float("inf")
        for shape, bucket in self._live_buckets():
            arrived = bucket.entries[0][0]
            if arrived < oldest and self._is_ready(bucket, arrived, now, only_full=only_full):
                chosen, oldest = shape, arrived
        if oldest == float("inf"):
            return []
        return self._take(chosen)

    def wait_s(self, now: float) -> float | None:
        """Seconds until next_batch returns a batch even if nothing else arrives; None if nothing waits."""
        waits = [
            0.0 if self._is_full(bucket) else bucket.entries[0][0] + self._max_wait_s - now
            for _, bucket in self._live_buckets()
        ]
        return max(0.0, min(waits)) if waits else None

    def drain(self) -> list[T]:
        """Remove and return everything that still waits."""
        left = [item for bucket in self._buckets.values() for _, item in bucket.entries if not item.cancelled]
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
        limit = self._room(bucket)
        if len(bucket.entries) < limit:
            return False
        waiting = (item for _, item in bucket.entries if not item.cancelled)
        return sum(1 for _ in islice(waiting, limit)) == limit

    def _room(self, bucket: _Bucket[T]) -> int:
        return max(1, min(self._limits.max_batch, self._limits.max_elements // max(1, bucket.elements)))

    def _take(self, shape: Hashable) -> list[T]:
        bucket = self._buckets[shape]
        room, batch = self._room(bucket), list[T]()
        while bucket.entries and len(batch) < room:
            _, item = bucket.entries.popleft()
            if not item.cancelled:
                batch.append(item)
        if not bucket.entries:
            del self._buckets[shape]
        return batch
