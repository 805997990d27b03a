"""What a line follows of all jobs: the logs of all queues as one, in the order of Redis' clock.

A cursor names a place in each queue's log, `training:1795526361044-0,inference:1795526361050-2`, because the clocks
of two queues may lie on two servers. Each queue's own order is exact; across queues it is by time.
"""

import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Iterable

from shared_schemas.errors import MalformedId
from shared_schemas.events import Gap
from shared_schemas.ids import JobKind, QueueName, default_queue, parse_queue
from shared_schemas.stream import keys
from shared_schemas.stream.timeline import LogEntry, Timeline, log_entries_of_ring, place_of

from gateway.following import when_possible
from gateway.hub import Hub, Ring
from gateway.timelines import PAGE_EVENTS

_PLACE = re.compile(r"[0-9]{1,15}-[0-9]{1,10}")
_LAST = 2**64 - 1
_BY_DEFAULT = frozenset(default_queue(kind) for kind in JobKind)

Queues = Callable[[], Awaitable[list[QueueName]]]


class Logs:
    """A source of lists of LogEntry, never over. cursors: for each queue the entry after which to begin; a queue that
    is not named begins at its first. The reader of a list advances past each entry of it before it asks for more."""

    def __init__(self, hub: Hub, timeline: Timeline, queues: Queues, cursors: dict[QueueName, str]) -> None:
        self._hub, self._timeline, self._known_queues = hub, timeline, queues
        self.cursors = dict(cursors)
        self.channels: Collection[str] = _bells(_BY_DEFAULT)
        self.is_over, self.is_behind = False, True

    def miss(self, channel: str | None = None) -> None:
        self.is_behind = True

    def take(self, channel: str, ring: Ring) -> list[LogEntry] | None:
        entries = ring.of(_entries_of)
        place = place_of(self.cursors.get(entries[0].queue, "0-0"))
        return [entry for entry in entries if place_of(entry.id) > place] or None

    async def read(self) -> AsyncGenerator[list[LogEntry], None]:
        is_last = False
        while not is_last:
            found = await when_possible(self._hub, self._next)
            if found is None:
                return
            entries, is_last = found
            if entries:
                yield entries

    def cursor(self) -> str:
        return ",".join(f"{queue}:{place}" for queue, place in sorted(self.cursors.items()))

    async def page(self) -> list[LogEntry]:
        """The next entries of all queues, in order; empty at the end. Moves no cursor."""
        return _in_order(await self._pages())

    async def _next(self) -> tuple[list[LogEntry], bool]:
        """-> a page, and whether there was no more."""
        # Whatever rings from here on is missed anew, and not before its turn to read had come, as in Timelines.
        self.is_behind = False
        pages = await self._pages()
        return _in_order(pages), all(len(page) < PAGE_EVENTS for page in pages)

    async def _pages(self) -> list[list[LogEntry]]:
        queues = await self._queues()
        # Of a queue that is new here, the bell is heard from now on, and what came before is read once more.
        self.channels = _bells(queues)
        return [
            await self._timeline.read_log(queue, after=self.cursors.get(queue, "0-0"), limit=PAGE_EVENTS)
            for queue in queues
        ]

    def advance(self, entry: LogEntry) -> str:
        """Move past the entry. -> the cursor after it."""
        self.cursors[entry.queue] = entry.id
        return self.cursor()

    async def gaps(self) -> list[tuple[QueueName, Gap]]:
        """Queues of whose log some after the cursor is no longer kept: the entry that the cursor names is gone. Here
        a gap counts in milliseconds since the epoch; the cursor goes on from what is kept."""
        found = []
        for queue, place in self.cursors.items():
            ms, n = place_of(place)
            before = f"{ms}-{n - 1}" if n else f"{ms - 1}-{_LAST}"
            if ms == 0 or [entry.id for entry in await self._timeline.read_log(queue, after=before, limit=1)] == [
                place
            ]:
                continue
            kept = await self._timeline.read_log(queue, limit=1)
            found.append((queue, Gap(requested=ms, oldest=place_of(kept[0].id)[0] if kept else 0)))
        return found

    async def _queues(self) -> list[QueueName]:
        """Those that jobs go to by default are followed before their first job."""
        return sorted(_BY_DEFAULT.union(await self._known_queues()))


async def end_of_logs(timeline: Timeline, queues: Queues) -> dict[QueueName, str]:
    """The cursor from which only what is still to come is followed."""
    return {queue: await timeline.log_end(queue) for queue in await queues()}


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


def _entries_of(ring: Ring) -> list[LogEntry]:
    return log_entries_of_ring(ring.payload)


def _bells(queues: Iterable[QueueName]) -> frozenset[str]:
    return frozenset(map(keys.log_bell, queues))


def _in_order(pages: list[list[LogEntry]]) -> list[LogEntry]:
    # Of a queue with more to come nothing is known past its page, so nothing later than that is handed on.
    horizon = min((_order(page[-1]) for page in pages if len(page) == PAGE_EVENTS), default=None)
    entries = sorted((entry for page in pages for entry in page), key=_order)
    return [entry for entry in entries if horizon is None or _order(entry) <= horizon]


def _order(entry: LogEntry) -> tuple[tuple[int, int], str]:
    return place_of(entry.id), entry.queue
