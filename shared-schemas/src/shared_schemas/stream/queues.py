"""Which queues exist, and questions to all of them at the same time.

    {hr}:declared  zset  the declared queues; score: when each was last declared, ms

Workers declare the queues that they serve, and a gateway declares those of its settings. A queue is forgotten if it has
not been declared for long and holds no job. This takes two steps: for a while it is listed but takes no jobs, because
one may still be on its way.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from redis.exceptions import NoScriptError

from shared_schemas.ids import JobId, QueueName, created_ms, default_queue, is_job_id, is_queue, kind_of_queue
from shared_schemas.job import JobState, QueueStatus, WorkerStatus
from shared_schemas.kinds import JobKind
from shared_schemas.lifecycle import from_ms
from shared_schemas.stream import keys, scripts
from shared_schemas.stream.change_log import parse_stream_id
from shared_schemas.stream.connection import AsyncRedis
from shared_schemas.stream.damage import or_nothing, reply_of
from shared_schemas.stream.declaring import declare
from shared_schemas.stream.keys import LANES
from shared_schemas.stream.listing import Page, page_arguments, page_from
from shared_schemas.stream.nodes import Nodes
from shared_schemas.stream.redis_errors import translate_errors
from shared_schemas.stream.workers import workers_of

BY_DEFAULT = frozenset(default_queue(kind) for kind in JobKind)
STATES = tuple(JobState)
# After so long, Redis is asked again.
_FRESH_S = 10.0
# Longer than a job can be on its way to a queue.
_LEAVING_S = 60.0
_STATUS = {"states": STATES, "lanes": LANES, "queued": JobState.QUEUED}

Asked = Callable[[QueueName], tuple[str, Mapping[str, Any]]]


class Queues:
    """always: queues that exist whatever Redis says; the default queues are added. known_s: how long an empty queue
    stays known if nobody declares it."""

    def __init__(self, nodes: Nodes, *, always: Iterable[QueueName] = (), known_s: float = 86_400.0) -> None:
        self._nodes, self._known_s = nodes, known_s
        self._own = sorted(set(always) - BY_DEFAULT)
        self.always = BY_DEFAULT.union(self._own)
        # From the last answer of Redis: the queues that are listed, and those that take jobs. _used: the queues to
        # which this process has sent jobs, in case Redis loses them.
        self._listed: frozenset[QueueName] = self.always
        self._taking: frozenset[QueueName] = frozenset()
        self._fresh_until, self._used = 0.0, set[QueueName]()

    async def names(self) -> list[QueueName]:
        """All queues that are listed."""
        await self._read()
        return sorted(self._listed)

    async def takes_jobs(self, queue: QueueName) -> bool:
        """Asks Redis only if the queue is not known, or was last seen more than some seconds ago."""
        if queue in self.always:
            return True
        if queue not in self._taking or time.monotonic() > self._fresh_until:
            await self._read()
        if queue in self._taking:
            self._used.add(queue)
        return queue in self._taking

    def taking(self, kind: JobKind) -> list[QueueName]:
        """The known queues of that kind that take jobs."""
        return sorted(queue for queue in self.always | self._taking if kind_of_queue(queue) is kind)

    async def declare(self, queue: QueueName) -> None:
        self._used.add(queue)
        await declare(self._nodes, [queue])

    async def review(self) -> list[QueueName]:
        """Declare the queues of this process again, forget queues that are due, and put back what Redis has lost.
        -> all queues that are listed"""
        old = await self._call(self._own, [])
        lost = self._used - self._listed
        if old or lost:
            statuses = await self.statuses(sorted({*old, *lost}))
            used = [status.name for status in statuses if sum(status.jobs.values())]
            empty = [queue for queue in old if queue not in used]
            self._used -= lost.difference(used)
            await self._call([queue for queue in used if queue in lost or queue not in self._taking], empty)
        return sorted(self._listed)

    async def statuses(self, queues: Iterable[QueueName] | None = None) -> list[QueueStatus]:
        """The status of each queue, by default of all queues. One round trip for each node."""
        replies = await self.ask(lambda _: ("status", _STATUS), queues=queues)
        return [_status_of(queue, reply) for queue, reply in replies.items()]

    async def status(self, queue: QueueName) -> QueueStatus:
        [status] = await self.statuses([queue])
        return status

    async def workers(self) -> list[WorkerStatus]:
        """The workers that are registered now, of all queues. One round trip for each node."""
        replies = await self.ask(lambda _: ("workers", {}))
        return [worker for queue, rows in replies.items() for worker in workers_of(queue, rows)]

    async def pages(
        self,
        sets: Sequence[str],
        *,
        states: Sequence[JobState],
        limit: int,
        before: Callable[[QueueName], JobId | None],
        queues: Iterable[QueueName] | None = None,
        kind: JobKind | None = None,
    ) -> list[Page]:
        """As listing.page_of, for each queue, or each queue of a kind. One round trip for each node. before: for each
        queue, the job that all listed jobs are older than."""

        def asked(queue: QueueName) -> tuple[str, Mapping[str, Any]]:
            return "list", page_arguments(sets, states=states, limit=limit, before=before(queue))

        replies = await self.ask(asked, queues=queues, kind=kind)
        return [page_from(queue, reply) for queue, reply in replies.items()]

    async def ask(
        self, asked: Asked, *, queues: Iterable[QueueName] | None = None, kind: JobKind | None = None
    ) -> dict[QueueName, Any]:
        """Run a script for each queue, or each queue of a kind. asked: gives its name and arguments. -> the reply of
        each queue. One round trip for each node, and another only if queues were added since the last call."""
        if queues is not None:
            return await self._ask_together(sorted(set(queues)), asked)
        replies: dict[QueueName, Any] = {}
        while of_turn := [queue for queue in self._of(kind) if queue not in replies]:
            replies |= await self._ask_together(of_turn, asked, is_for_all=True)
        return {queue: replies[queue] for queue in self._of(kind)}

    def _of(self, kind: JobKind | None) -> list[QueueName]:
        return sorted(queue for queue in self._listed if kind is None or kind_of_queue(queue) is kind)

    async def _ask_together(
        self, queues: list[QueueName], asked: Asked, *, is_for_all: bool = False
    ) -> dict[QueueName, Any]:
        replies: dict[QueueName, Any] = {}
        for client, some in self._nodes.group_queues(queues):
            reads_declared = is_for_all and client is self._nodes.shared
            replies |= await self._ask_node(client, some, asked, reads_declared=reads_declared)
        return replies

    async def _ask_node(
        self, client: AsyncRedis, queues: Sequence[QueueName], asked: Asked, *, reads_declared: bool
    ) -> dict[QueueName, Any]:
        calls = [(queue, *asked(queue)) for queue in queues]
        first = [("ZRANGE", keys.DECLARED, 0, -1, "WITHSCORES")] if reads_declared else []
        with translate_errors():
            commands = [scripts.command(name, keys.tag(queue), given) for queue, name, given in calls]
            replies = await _together(client, [*first, *commands])
            if any(isinstance(reply, NoScriptError) for reply in replies):
                commands = [scripts.whole_command(name, keys.tag(queue), given) for queue, name, given in calls]
                replies = await _together(client, [*first, *commands])
            for reply in replies[len(first) :]:
                if isinstance(reply, Exception):
                    raise reply
            [flat] = or_nothing(replies[: len(first)]) or [None]
        if reads_declared:
            replies, flat = replies[1:], flat or ()
            self._keep(zip(flat[::2], map(float, flat[1::2]), strict=True))
        return dict(zip(queues, replies, strict=True))

    async def _read(self) -> None:
        with translate_errors():
            self._keep(await reply_of(self._nodes.shared.zrange(keys.DECLARED, 0, -1, withscores=True)) or ())

    async def _call(self, declared: list[QueueName], empty: list[QueueName]) -> list[QueueName]:
        """-> the queues that have not been declared for long, or are leaving"""
        now, *flat = await scripts.call(
            self._nodes.shared,
            "queues",
            keys.ALL,
            {
                "declared": declared,
                "empty": empty,
                "known_ms": round(self._known_s * 1000),
                "leaving_ms": round(_LEAVING_S * 1000),
            },
        )
        rows = [(name, float(score)) for name, score in zip(flat[::2], flat[1::2], strict=True)]
        limit_ms = int(now) - self._known_s * 1000
        return [queue for queue, score in self._keep(rows).items() if score < limit_ms and queue not in self.always]

    def _keep(self, rows: Iterable[tuple[bytes, float]]) -> dict[QueueName, float]:
        """-> for each declared queue its score"""
        named = ((name.decode(errors="replace"), score) for name, score in rows)
        declared = {QueueName(name): score for name, score in named if is_queue(name)}
        self._listed = self.always.union(declared)
        self._taking = frozenset(queue for queue, score in declared.items() if score > 0)
        self._fresh_until = time.monotonic() + _FRESH_S
        return declared


async def _together(client: AsyncRedis, commands: list[tuple[Any, ...]]) -> list[Any]:
    pipeline = client.pipeline(transaction=False)
    for command in commands:
        pipeline.execute_command(*command)
    return list(await pipeline.execute(raise_on_error=False))


def _status_of(queue: QueueName, reply: Any) -> QueueStatus:
    counts, dead, workers, oldest, log_from = reply
    first = oldest.decode(errors="replace")
    by_state = dict(zip(STATES, counts, strict=True))
    return QueueStatus(
        name=queue,
        kind=kind_of_queue(queue),
        jobs={state.value: sum(of_lanes) for state, of_lanes in by_state.items()},
        ready={lane.value: n for lane, n in zip(LANES, by_state[JobState.QUEUED], strict=True)},
        dead=dead,
        workers=workers,
        log_from=from_ms(parse_stream_id(log_from.decode())[0]) if log_from else None,
        oldest_queued_at=from_ms(created_ms(JobId(first))) if is_job_id(first) else None,
    )
