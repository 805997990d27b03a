"""Following what happens to all jobs: the logs of all queues as one, in the order of Redis' clock.

A cursor names a place in each queue's log, `training:1795526361044-0,inference:1795526361050-2`, because the clocks
of two queues may lie on two servers. Each queue's own order is exact; across queues it is by time.
"""

import re
from collections.abc import AsyncGenerator, Awaitable, Callable

import anyio
from shared_schemas.errors import BackendUnavailable, MalformedId
from shared_schemas.events import Gap
from shared_schemas.ids import JobKind, QueueName, default_queue, parse_queue
from shared_schemas.stream import keys
from shared_schemas.stream.timeline import LogEntry, Timeline, log_entries_of_ring

from gateway.following import PAGE_EVENTS, SUBSCRIBE_S, when_possible
from gateway.hub import Hub, Rings, Signal

_PLACE = re.compile(r"\d{1,15}-\d{1,10}")
_LAST = 2**64 - 1

Queues = Callable[[], Awaitable[list[QueueName]]]


class LogFollower:
    """cursors: for each queue the entry after which to begin; a queue that is not named begins at its first."""

    def __init__(
        self, hub: Hub, timeline: Timeline, queues: Queues, cursors: dict[QueueName, str], *, idle_s: float
    ) -> None:
        self._hub, self._timeline, self._known_queues, self._idle_s = hub, timeline, queues, idle_s
        self.cursors = dict(cursors)

    def cursor(self) -> str:
        return ",".join(f"{queue}:{place}" for queue, place in sorted(self.cursors.items()))

    async def read(self) -> list[LogEntry]:
        """The next entries of all queues, in order; empty at the end. Moves no cursor."""
        pages = [
            await self._timeline.read_log(queue, after=self.cursors.get(queue, "0-0"), limit=PAGE_EVENTS)
            for queue in await self._queues()
        ]
        # Of a queue with more to come nothing is known past its page, so nothing later than that is handed on.
        horizon = min((_order(page[-1]) for page in pages if len(page) == PAGE_EVENTS), default=None)
        entries = sorted((entry for page in pages for entry in page), key=_order)
        return [entry for entry in entries if horizon is None or _order(entry) <= horizon]

    def advance(self, entry: LogEntry) -> str:
        """Move past the entry. -> the cursor after it."""
        self.cursors[entry.queue] = entry.id
        return self.cursor()

    async def gaps(self) -> list[tuple[QueueName, Gap]]:
        """Queues of whose log some after the cursor is no longer kept: the entry that the cursor names is gone. Here
        a gap counts in milliseconds since the epoch; the cursor goes on from what is kept."""
        found = []
        for queue, place in self.cursors.items():
            ms, n = _place(place)
            before = f"{ms}-{n - 1}" if n else f"{ms - 1}-{_LAST}"
            if ms == 0 or [entry.id for entry in await self._timeline.read_log(queue, after=before, limit=1)] == [
                place
            ]:
                continue
            kept = await self._timeline.read_log(queue, limit=1)
            found.append((queue, Gap(requested=ms, oldest=_place(kept[0].id)[0] if kept else 0)))
        return found

    async def follow(self, *, live: bool = True) -> AsyncGenerator[list[LogEntry], None]:
        """For ever, or to the end of what there is, or until the process is closing. The caller advances past each
        entry before it asks for more."""
        while (queues := await when_possible(self._hub, self._queues)) is not None:
            async with self._hub.subscribe(*(keys.log_bell(queue) for queue in queues)) as subscriber:
                with anyio.move_on_after(SUBSCRIBE_S) as waiting:
                    await subscriber.ready()
                if waiting.cancelled_caught:
                    raise BackendUnavailable("Redis does not answer")
                heard: Rings | Signal = Signal.MISSED
                while heard is not Signal.CLOSING:
                    if isinstance(heard, Signal) or not heard:
                        while entries := await when_possible(self._hub, self.read):
                            yield entries
                        if not live:
                            return
                        if await when_possible(self._hub, self._queues) != queues:
                            break
                    elif fresh := self._fresh(heard):
                        yield fresh
                    heard = await subscriber.next(timeout_s=self._idle_s)

    def _fresh(self, heard: Rings) -> list[LogEntry]:
        entries = [entry for _, payload in heard for entry in log_entries_of_ring(payload)]
        return [entry for entry in entries if _place(entry.id) > _place(self.cursors.get(entry.queue, "0-0"))]

    async def _queues(self) -> list[QueueName]:
        """Those that jobs go to by default are followed before their first job."""
        return sorted({default_queue(kind) for kind in JobKind}.union(await self._known_queues()))


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


def _place(entry_id: str) -> tuple[int, int]:
    ms, _, n = entry_id.partition("-")
    return int(ms), int(n)


def _order(entry: LogEntry) -> tuple[tuple[int, int], str]:
    return _place(entry.id), entry.queue
