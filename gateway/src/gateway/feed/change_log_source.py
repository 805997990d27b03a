"""What a line follows of all jobs: the logs of all queues as one, in the order of Redis' clock.

A cursor names a place in each queue's log, `training:1795526361044-0,inference:1795526361050-2`, because the clocks
of two queues may lie on two servers. Each queue's own order is exact; across queues it is by time.
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
_LAST = 2**64 - 1
_START = "0-0"
_BY_DEFAULT = frozenset(default_queue(kind) for kind in JobKind)

Queues = Callable[[], Awaitable[list[QueueName]]]


class LogGap(msgspec.Struct, frozen=True):
    """What lay between is no longer kept in the log of the queue. A gap counts in milliseconds since the epoch here."""

    queue: QueueName
    gap: Gap


Told = list[LogEntry | LogGap]


class ChangeLogSource:
    """A source of lists of LogEntry, never over, with a LogGap in front where some of a queue's log are no longer kept.
    cursors: for each queue the entry after which to begin; a queue that is not named begins at its first. The reader of
    a list advances past each entry of it before it asks for more."""

    def __init__(self, hub: Hub, log: ChangeLog, queues: Queues, cursors: dict[QueueName, str]) -> None:
        self._hub, self._log, self._known_queues = hub, log, queues
        self.cursors = dict(cursors)
        self.channels: Collection[str] = _channels(_BY_DEFAULT)
        self.is_over, self.is_behind = False, True
        # Queues that have been read to the end once. What the log drops after that was still to be read.
        self._caught_up: set[QueueName] = set(cursors)
        # Of each queue the place after which a gap was told.
        self._told: dict[QueueName, str] = {}

    def miss(self, channel: str | None = None) -> None:
        self.is_behind = True

    def take(self, channel: str, notification: Notification) -> Told | None:
        entries = notification.memo(_entries_of)
        place = parse_stream_id(self.cursors.get(entries[0].queue, _START))
        return [entry for entry in entries if parse_stream_id(entry.id) > place] or None

    async def read(self) -> AsyncGenerator[Told, None]:
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
        """The next entries of all queues, in order; empty at the end. Moves no cursor."""
        pages, _ = await self._pages()
        return _in_order(pages)

    async def _next(self) -> tuple[Told, bool]:
        """-> a page, and whether there was no more."""
        # A notification from here on counts as missed again, and not one before its turn to read, as in TimelineSource.
        self.is_behind = False
        pages, gaps = await self._pages()
        return [*gaps, *_in_order(pages)], all(len(page) < PAGE_EVENTS for page in pages)

    async def _pages(self) -> tuple[list[list[LogEntry]], list[LogGap]]:
        queues = await self._queues()
        # Of a queue that is new here, notifications come from now on, and what came before is read once more.
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
        """-> the next entries of the queue, and whether some before them are no longer kept, if that is not told yet"""
        place = self.cursors.get(queue, _START)
        # With the entry that the cursor names: only that says that nothing behind it is missing.
        after = _START if place == _START else _before(place)
        entries = await self._log.read(queue, after=after, limit=PAGE_EVENTS + 1)
        if place == _START:
            is_whole = not entries or queue not in self._caught_up or not await self._log.count_lost(queue)
        else:
            is_whole = bool(entries) and entries[0].id == place
        page = [entry for entry in entries if parse_stream_id(entry.id) > parse_stream_id(place)][:PAGE_EVENTS]
        if len(page) < PAGE_EVENTS:
            self._caught_up.add(queue)
        if is_whole or self._told.get(queue) == place:
            return page, None
        return page, await self._gap(queue, place)

    async def _gap(self, queue: QueueName, place: str) -> Gap:
        self._told[queue] = place
        kept = await self._log.read(queue, limit=1)
        return Gap(requested=parse_stream_id(place)[0], oldest=parse_stream_id(kept[0].id)[0] if kept else 0)

    def advance(self, entry: LogEntry) -> str:
        """Move past the entry. -> the cursor after it."""
        self.cursors[entry.queue] = entry.id
        return self.cursor()

    async def gaps(self) -> Told:
        """Queues of whose log some after the cursor is no longer kept, as it is when a line opens: the entry that the
        cursor names is gone. The cursor goes on from what is kept."""
        found: Told = []
        for queue, place in self.cursors.items():
            if parse_stream_id(place)[0] == 0:
                continue
            next_ones = await self._log.read(queue, after=_before(place), limit=1)
            if [entry.id for entry in next_ones] != [place]:
                found.append(LogGap(queue, await self._gap(queue, place)))
        return found

    async def _queues(self) -> list[QueueName]:
        """Those that jobs go to by default are followed before their first job."""
        return sorted(_BY_DEFAULT.union(await self._known_queues()))


async def end_of_logs(log: ChangeLog, queues: Queues) -> dict[QueueName, str]:
    """The cursor from which only what is still to come is followed."""
    return {queue: await log.end(queue) for queue in await queues()}


def parse_cursor(text: str) -> dict[QueueName, str] | None:
    """`0` or an empty text: everything that is kept. None if it is not a cursor."""
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
    return f"{ms}-{n - 1}" if n else f"{ms - 1}-{_LAST}"


def _entries_of(notification: Notification) -> list[LogEntry]:
    return log_entries_in_notification(notification.payload)


def _channels(queues: Iterable[QueueName]) -> frozenset[str]:
    return frozenset(map(keys.log_channel, queues))


def _in_order(pages: list[list[LogEntry]]) -> list[LogEntry]:
    # Of a queue with more to come nothing is known past its page, so nothing later than that is handed on.
    horizon = min((_order(page[-1]) for page in pages if len(page) == PAGE_EVENTS), default=None)
    entries = sorted((entry for page in pages for entry in page), key=_order)
    return [entry for entry in entries if horizon is None or _order(entry) <= horizon]


def _order(entry: LogEntry) -> tuple[tuple[int, int], str]:
    return parse_stream_id(entry.id), entry.queue
