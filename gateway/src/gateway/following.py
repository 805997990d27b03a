"""Following timelines: replay first, then live, without a gap at the hand-over. Knows numbers, not transports.

Subscribe, then read, then listen: whatever happens after the subscription rings, whatever came before is read, and
what is both is told apart by its number. A number that is not the next one sends the follower back to the timeline.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from functools import partial
from typing import TypeVar

import anyio
import msgspec
from shared_schemas.errors import BackendUnavailable
from shared_schemas.ids import JobId
from shared_schemas.stream import keys
from shared_schemas.stream.timeline import Entry, Timeline, entries_of_ring

from gateway.hub import Hub, Rings, Signal

SUBSCRIBE_S = 5.0
PAGE_EVENTS = 500
# A page is held for its reader until it is taken. Of how large events are nothing is known before the first page.
_FIRST_PAGE_EVENTS, _PAGE_BYTES = 10, 1 << 17
_SHORTEST_S, _LONGEST_S = 0.25, 2.0

T = TypeVar("T")


async def when_possible(hub: Hub, read: Callable[[], Awaitable[T]]) -> T | None:
    """What `read` gives, as soon as Redis can: a line stays open while Redis is away. None: the process is closing."""
    wait_s = _SHORTEST_S
    with hub.while_open():
        while not hub.is_closing:
            try:
                async with hub.reading:
                    return await read()
            except BackendUnavailable:
                await anyio.sleep(wait_s)
                wait_s = min(_LONGEST_S, wait_s * 2)
    return None


class Batch(msgspec.Struct, frozen=True):
    """Events of one job that follow each other. requested, missing_up_to: the reader had the first of these numbers,
    and what lies between it and the second is no longer kept. Where the second is not the larger one, Redis has lost
    what the reader had seen, and the timeline begins again."""

    job_id: JobId
    entries: list[Entry]
    requested: int = 0
    missing_up_to: int | None = None


class _Page(msgspec.Struct, frozen=True):
    """entries: what follows the cursor. newest: the number of the newest event that is kept, 0 if the job is not.
    is_other: another event stands at the cursor than the one that was handed on."""

    entries: list[Entry]
    newest: int
    is_other: bool = False


class Follower:
    """cursors: for each job the number of the last event the reader has. idle_s: the timeline is read after so long a
    silence. Ends once every job has ended, or the process is closing."""

    def __init__(self, hub: Hub, timeline: Timeline, cursors: dict[JobId, int], *, idle_s: float) -> None:
        self._hub, self._timeline, self._idle_s = hub, timeline, idle_s
        self.cursors = dict(cursors)
        # Digests of the events at the cursors, where they were handed on here. A failover may bring a timeline that
        # lacks the last events and has used their numbers for others by the time that this is noticed.
        self._told: dict[JobId, int] = {}
        self._open = set(cursors)
        self._jobs = {keys.job_bell(job_id): job_id for job_id in cursors}

    async def follow(self, *, live: bool = True) -> AsyncGenerator[Batch, None]:
        async with self._hub.subscribe(*self._jobs) as subscriber:
            with anyio.move_on_after(SUBSCRIBE_S) as waiting:
                await subscriber.ready()
            if waiting.cancelled_caught:
                raise BackendUnavailable("Redis does not answer")
            async with aclosing(self._replay(set(self._open))) as replay:
                async for batch in replay:
                    yield batch
            while live and self._open:
                heard = await subscriber.next(timeout_s=self._idle_s)
                if heard is Signal.CLOSING:
                    return
                batches, behind = self._sort(heard)
                for batch in batches:
                    yield batch
                async with aclosing(self._replay(behind)) as replay:
                    async for batch in replay:
                        yield batch

    def _sort(self, heard: Rings | Signal) -> tuple[list[Batch], set[JobId]]:
        """-> (what can be handed on as it came, jobs whose timeline must be read)."""
        if isinstance(heard, Signal) or not heard:
            # A bell may be lost without a trace; a look once in a while costs one XRANGE.
            return [], set(self._open)
        batches, behind = [], set()
        for channel, payload in heard:
            job_id = self._jobs[channel]
            fresh = self._fresh(job_id, entries_of_ring(payload))
            if fresh is None:
                behind.add(job_id)
            elif fresh and job_id not in behind:
                batches.append(self._advance(job_id, fresh))
        return batches, behind

    def _fresh(self, job_id: JobId, entries: list[Entry]) -> list[Entry] | None:
        """Those after the cursor; None if one before them is missing, or is another than the one handed on."""
        if any(self._is_other(job_id, entry) for entry in entries):
            return None
        fresh = [entry for entry in entries if entry.n > self.cursors[job_id]]
        return None if fresh and fresh[0].n != self.cursors[job_id] + 1 else fresh

    async def _replay(self, jobs: set[JobId]) -> AsyncGenerator[Batch, None]:
        for job_id in sorted(jobs):
            limit = _FIRST_PAGE_EVENTS
            while job_id in self._open:
                page = await when_possible(self._hub, partial(self._page, job_id, limit))
                if page is None:
                    return
                entries = page.entries
                if page.is_other or 0 < page.newest < self.cursors[job_id]:
                    yield self._begin_again(job_id)
                elif entries:
                    missing = entries[0].n if entries[0].n != self.cursors[job_id] + 1 else None
                    yield self._advance(job_id, entries, missing)
                    limit = _next_limit(entries)
                elif page.newest == 0:
                    self._open.discard(job_id)
                else:
                    break

    async def _page(self, job_id: JobId, limit: int) -> _Page:
        after, is_told = self.cursors[job_id], job_id in self._told
        entries = await self._timeline.read(job_id, after=after - is_told, limit=limit + is_told)
        if entries and self._is_other(job_id, entries[0]):
            return _Page([], after, is_other=True)
        fresh = [entry for entry in entries if entry.n > after]
        return _Page(fresh, entries[-1].n if entries else (await self._timeline.bounds(job_id))[1])

    def _is_other(self, job_id: JobId, entry: Entry) -> bool:
        told = self._told.get(job_id)
        return told is not None and entry.n == self.cursors[job_id] and hash(entry.data) != told

    def _begin_again(self, job_id: JobId) -> Batch:
        requested, self.cursors[job_id] = self.cursors[job_id], 0
        self._told.pop(job_id, None)
        return Batch(job_id, [], requested, missing_up_to=1)

    def _advance(self, job_id: JobId, entries: list[Entry], missing_up_to: int | None = None) -> Batch:
        requested, self.cursors[job_id] = self.cursors[job_id], entries[-1].n
        self._told[job_id] = hash(entries[-1].data)
        if entries[-1].event == "done":
            self._open.discard(job_id)
        return Batch(job_id, entries, requested, missing_up_to)


def _next_limit(entries: list[Entry]) -> int:
    n_bytes = sum(len(entry.data) for entry in entries)
    return max(1, min(PAGE_EVENTS, _PAGE_BYTES * len(entries) // n_bytes))
