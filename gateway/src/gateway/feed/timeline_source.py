"""The source of a stream that follows some jobs: their timelines, each from a number on. Knows no
frames.

An event that is both read and received as a notification is recognised by its number. If the number
of an event is not the next one, the timeline is read.
"""

from collections.abc import AsyncGenerator, Collection
from functools import partial
from itertools import pairwise

import msgspec
from shared_schemas.ids import JobId
from shared_schemas.stream import keys
from shared_schemas.stream.timeline import Entry, Timeline, entries_in_notification

from gateway.feed.hub import Hub, Notification
from gateway.feed.subscription import retry_while_redis_is_away

PAGE_EVENTS = 500
# Jobs in one stream.
MOST_JOBS = 100
# A page is in memory until its reader has taken it. The first page is short: it shows how large the
# events are.
_FIRST_PAGE_EVENTS, _PAGE_BYTES = 10, 1 << 17


class Batch(msgspec.Struct, frozen=True, gc=False):
    """Consecutive events of one job.

    notification: set if it holds exactly these events. requested: the number of the last event that
    the reader had. missing_up_to: set if there is a gap; the number of the first event after it. If
    it is not larger than `requested`, Redis lost events that the reader has seen, and the timeline
    begins again.
    """

    job_id: JobId
    entries: list[Entry]
    notification: Notification | None = None
    requested: int = 0
    missing_up_to: int | None = None


class _Page(msgspec.Struct, frozen=True):
    """entries: the events after the cursor. newest: the number of the newest event that is kept, 0
    if the job is not kept. is_other: the event at the cursor is not the one that was sent to the
    reader. is_last: there were no more events."""

    entries: list[Entry]
    newest: int
    is_other: bool = False
    is_last: bool = False


def entries_of(notification: Notification) -> list[Entry]:
    return entries_in_notification(notification.payload)


class TimelineSource:
    """A Source that is over once every job has ended. cursors: for each job, the number of the last
    event that the reader has. heard: jobs that need not be read, because every event after the
    cursor is offered."""

    def __init__(
        self, hub: Hub, timeline: Timeline, cursors: dict[JobId, int], *, heard: Collection[JobId] = ()
    ) -> None:
        self._hub, self._timeline = hub, timeline
        self.cursors = dict(cursors)
        # Hashes of the events at the cursors, for jobs of which this stream has sent one. A
        # failover can lose the last events of a timeline, and other events may have their numbers
        # by the time that this is noticed.
        self._last_hashes: dict[JobId, int] = {}
        self._open = set(cursors)
        self._behind = set(cursors).difference(heard)
        self._jobs = {keys.job_channel(job_id): job_id for job_id in cursors}

    @property
    def channels(self) -> Collection[str]:
        return self._jobs.keys()

    @property
    def is_over(self) -> bool:
        return not self._open

    @property
    def is_behind(self) -> bool:
        return bool(self._behind)

    def miss(self, channel: str | None = None) -> None:
        if channel is None:
            self._behind |= self._open
        elif (job_id := self._jobs[channel]) in self._open:
            self._behind.add(job_id)

    def take(self, channel: str, notification: Notification) -> Batch | None:
        job_id, entries = self._jobs[channel], notification.memo(entries_of)
        if job_id not in self._open:
            return None
        cursor = self.cursors[job_id]
        # Nearly always.
        if entries[0].n == cursor + 1:
            return self._advance(job_id, entries, notification=notification)
        fresh = [entry for entry in entries if entry.n > cursor]
        if (fresh and fresh[0].n != cursor + 1) or any(self._is_other(job_id, entry) for entry in entries):
            self._behind.add(job_id)
            return None
        return self._advance(job_id, fresh) if fresh else None

    async def read(self) -> AsyncGenerator[Batch, None]:
        for job_id in sorted(self._behind):
            limit = _FIRST_PAGE_EVENTS
            while job_id in self._open:
                page = await retry_while_redis_is_away(self._hub, partial(self._page, job_id, limit))
                if page is None:
                    return
                entries = page.entries
                if page.is_other or 0 < page.newest < self.cursors[job_id]:
                    yield self._begin_again(job_id)
                elif entries:
                    for run in _runs(entries):
                        missing = run[0].n if run[0].n != self.cursors[job_id] + 1 else None
                        yield self._advance(job_id, run, missing_up_to=missing)
                    if page.is_last:
                        break
                    limit = _next_limit(entries)
                elif page.newest == 0:
                    self._open.discard(job_id)
                else:
                    break

    async def _page(self, job_id: JobId, limit: int) -> _Page:
        # A notification that comes from here on counts as missed again. If those before counted as
        # well, a stream of a busy job would miss one each time it waits for its turn to read, and
        # would have to wait again.
        self._behind.discard(job_id)
        # With the event at the cursor, to compare it with the one that was sent.
        after, is_checked = self.cursors[job_id], job_id in self._last_hashes
        entries = await self._timeline.read(job_id, after=after - is_checked, limit=limit + is_checked)
        if entries and self._is_other(job_id, entries[0]):
            return _Page([], after, is_other=True)
        fresh = [entry for entry in entries if entry.n > after]
        newest = entries[-1].n if entries else (await self._timeline.bounds(job_id))[1]
        return _Page(fresh, newest, is_last=len(entries) < limit + is_checked)

    def _is_other(self, job_id: JobId, entry: Entry) -> bool:
        last_hash = self._last_hashes.get(job_id)
        return last_hash is not None and entry.n == self.cursors[job_id] and hash(entry.data) != last_hash

    def _begin_again(self, job_id: JobId) -> Batch:
        requested, self.cursors[job_id] = self.cursors[job_id], 0
        self._last_hashes.pop(job_id, None)
        return Batch(job_id, [], requested=requested, missing_up_to=1)

    def _advance(
        self,
        job_id: JobId,
        entries: list[Entry],
        *,
        notification: Notification | None = None,
        missing_up_to: int | None = None,
    ) -> Batch:
        requested, self.cursors[job_id] = self.cursors[job_id], entries[-1].n
        self._last_hashes[job_id] = hash(entries[-1].data)
        if entries[-1].event == "done":
            self._open.discard(job_id)
            self._behind.discard(job_id)
        return Batch(job_id, entries, notification, requested, missing_up_to)


def _runs(entries: list[Entry]) -> list[list[Entry]]:
    """Split the entries at missing numbers, which only a damaged timeline has."""
    cuts = [i for i in range(1, len(entries)) if entries[i].n != entries[i - 1].n + 1]
    return [entries[start:end] for start, end in pairwise([0, *cuts, len(entries)])]


def _next_limit(entries: list[Entry]) -> int:
    n_bytes = sum(len(entry.data) for entry in entries)
    return max(1, min(PAGE_EVENTS, _PAGE_BYTES * len(entries) // n_bytes))
