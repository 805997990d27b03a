"""The source of a stream that follows all jobs: the logs of all queues, merged by Redis' clock.
Knows no frames.

A cursor names a place in each queue's log, `training:1795526361044-0,inference:1795526361050-2`,
because two queues may be on two servers, each with a clock of its own. Entries of one queue are in
exact order. Entries of different queues are ordered by time.
"""

import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Iterable

import msgspec
from shared_schemas.errors import MalformedId
from shared_schemas.events import Gap
from shared_schemas.ids import QueueName, default_queue, parse_queue
from shared_schemas.kinds import JobKind
from shared_schemas.stream import keys
from shared_schemas.stream.change_log import ChangeLog, LogEntry, log_entries_in_notification, parse_stream_id

from gateway.feed.hub import Hub, Notification
from gateway.feed.subscription import retry_while_redis_is_away
from gateway.feed.timeline_source import PAGE_EVENTS

_PLACE = re.compile(r"[0-9]{1,15}-[0-9]{1,10}")
_LAST_SEQUENCE = 2**64 - 1
_START = "0-0"
_BY_DEFAULT = frozenset(default_queue(kind) for kind in JobKind)

Queues = Callable[[], Awaitable[list[QueueName]]]


class LogGap(msgspec.Struct, frozen=True):
    """Entries of the queue's log that the reader has not had are no longer kept. Its gap is in ms
    since the epoch."""

    queue: QueueName
    gap: Gap


LogBatch = list[LogEntry | LogGap]


class ChangeLogSource:
    """A Source that is never over. A batch has LogGaps first, for queues whose log no longer has
    all entries since the cursor.

    cursors: for each queue, the id of the entry after which to begin. A queue that is missing here
    is read from its first entry. Whoever takes a batch calls `advance` for each entry before it
    asks for more.
    """

    def __init__(self, hub: Hub, log: ChangeLog, queues: Queues, cursors: dict[QueueName, str]) -> None:
        self._hub, self._log, self._known_queues = hub, log, queues
        self.cursors = dict(cursors)
        self.channels: Collection[str] = _channels(_BY_DEFAULT)
        self.is_over, self.is_behind = False, True
        # Queues that have been read to the end once. What their log drops after that is a gap.
        self._caught_up: set[QueueName] = set(cursors)
        # For each queue, the place after which a gap was last reported. None is reported twice.
        self._gap_after: dict[QueueName, str] = {}

    def miss(self, channel: str | None = None) -> None:
        self.is_behind = True

    def take(self, channel: str, notification: Notification) -> LogBatch | None:
        entries = notification.memo(_entries_of)
        place = parse_stream_id(self.cursors.get(entries[0].queue, _START))
        return [entry for entry in entries if parse_stream_id(entry.id) > place] or None

    async def read(self) -> AsyncGenerator[LogBatch, None]:
        is_last = False
        while not is_last:
            found = await retry_while_redis_is_away(self._hub, self._next)
            if found is None:
                return
            entries, is_last = found
            if entries:
                yield entries

    def cursor(self) -> str:
        return ",".join(f"{queue}:{place}" for queue, place in sorted(self.cursors.items()))

    async def page(self) -> list[LogEntry]:
        """The next entries of all queues, in order; empty at the end. Does not move the cursor."""
        pages, _ = await self._pages()
        return _in_order(pages)

    async def _next(self) -> tuple[LogBatch, bool]:
        """-> (the next batch, whether it is the last for now)"""
        # A notification that comes from here on counts as missed again. One that came while this
        # stream waited for its turn to read does not: see TimelineSource._page.
        self.is_behind = False
        pages, gaps = await self._pages()
        return [*gaps, *_in_order(pages)], all(len(page) < PAGE_EVENTS for page in pages)

    async def _pages(self) -> tuple[list[list[LogEntry]], list[LogGap]]:
        queues = await self._queues()
        # The subscription follows these channels from now on. If one is new, everything is read
        # once more after that.
        self.channels = _channels(queues)
        pages: list[list[LogEntry]] = []
        gaps: list[LogGap] = []
        for queue in queues:
            page, gap = await self._page(queue)
            pages.append(page)
            if gap is not None:
                gaps.append(LogGap(queue, gap))
        return pages, gaps

    async def _page(self, queue: QueueName) -> tuple[list[LogEntry], Gap | None]:
        """-> (the next entries of the queue, the gap before them unless it was reported)"""
        place = self.cursors.get(queue, _START)
        # Read the entry at the cursor as well: while it is kept, nothing after it is missing.
        after = _START if place == _START else _before(place)
        entries = await self._log.read(queue, after=after, limit=PAGE_EVENTS + 1)
        if place == _START:
            is_whole = not entries or queue not in self._caught_up or not await self._log.count_lost(queue)
        else:
            is_whole = bool(entries) and entries[0].id == place
        page = [entry for entry in entries if parse_stream_id(entry.id) > parse_stream_id(place)][:PAGE_EVENTS]
        if len(page) < PAGE_EVENTS:
            self._caught_up.add(queue)
        if is_whole or self._gap_after.get(queue) == place:
            return page, None
        return page, await self._gap(queue, place)

    async def _gap(self, queue: QueueName, place: str) -> Gap:
        self._gap_after[queue] = place
        kept = await self._log.read(queue, limit=1)
        return Gap(requested=parse_stream_id(place)[0], oldest=parse_stream_id(kept[0].id)[0] if kept else 0)

    def advance(self, entry: LogEntry) -> str:
        """Move the cursor past the entry. -> the new cursor"""
        self.cursors[entry.queue] = entry.id
        return self.cursor()

    async def gaps(self) -> LogBatch:
        """For a stream that opens: a gap for each queue whose log no longer has the entry at the
        cursor. Reading continues with the oldest entry that is kept."""
        found: LogBatch = []
        for queue, place in self.cursors.items():
            if parse_stream_id(place)[0] == 0:
                continue
            next_ones = await self._log.read(queue, after=_before(place), limit=1)
            if [entry.id for entry in next_ones] != [place]:
                found.append(LogGap(queue, await self._gap(queue, place)))
        return found

    async def _queues(self) -> list[QueueName]:
        """The default queues are included, so that they are followed before their first job."""
        return sorted(_BY_DEFAULT.union(await self._known_queues()))


async def end_of_logs(log: ChangeLog, queues: Queues) -> dict[QueueName, str]:
    """The cursor after everything that is logged now."""
    return {queue: await log.end(queue) for queue in await queues()}


def parse_cursor(text: str) -> dict[QueueName, str] | None:
    """An empty text or `0` means everything that is kept. None if the text is not a cursor."""
    if text in ("", "0", "0-0"):
        return {}
    cursors = {}
    for part in text.split(","):
        queue, _, place = part.rpartition(":")
        if _PLACE.fullmatch(place) is None:
            return None
        try:
            cursors[parse_queue(queue)] = place
        except MalformedId:
            return None
    return cursors


def _before(place: str) -> str:
    ms, n = parse_stream_id(place)
    return f"{ms}-{n - 1}" if n else f"{ms - 1}-{_LAST_SEQUENCE}"


def _entries_of(notification: Notification) -> list[LogEntry]:
    return log_entries_in_notification(notification.payload)


def _channels(queues: Iterable[QueueName]) -> frozenset[str]:
    return frozenset(map(keys.log_channel, queues))


def _in_order(pages: list[list[LogEntry]]) -> list[LogEntry]:
    # A queue with a full page may have more entries. Entries of other queues that are later than
    # that page are left for the next read, so that they do not overtake them.
    horizon = min((_order(page[-1]) for page in pages if len(page) == PAGE_EVENTS), default=None)
    entries = sorted((entry for page in pages for entry in page), key=_order)
    return [entry for entry in entries if horizon is None or _order(entry) <= horizon]


def _order(entry: LogEntry) -> tuple[tuple[int, int], str]:
    return parse_stream_id(entry.id), entry.queue
