"""Which queues exist. Asks queues for nothing but whether they hold a job; `queue_queries` reads all else.

Workers declare the queues that they serve, and a gateway declares those of its settings. A queue is forgotten if it has
not been declared for long and holds no job. This takes two steps: for a while it is listed but takes no jobs, because
one may still be on its way.
"""

import time
from collections.abc import Iterable
from typing import Any, ClassVar

from shared_schemas.ids import QueueName, default_queue, is_queue, kind_of_queue
from shared_schemas.kinds import JobKind
from shared_schemas.stream import keys, scripts
from shared_schemas.stream.damage import or_nothing, reply_of
from shared_schemas.stream.declaring import declare
from shared_schemas.stream.nodes import Nodes
from shared_schemas.stream.queue_status import statuses_of
from shared_schemas.stream.redis_errors import translate_errors

BY_DEFAULT = frozenset(default_queue(kind) for kind in JobKind)
# After so long, Redis is asked again.
_FRESH_S = 10.0
# Longer than a job can be on its way to a queue.
_LEAVING_S = 60.0


class Queues:
    """always: queues that exist whatever Redis says; the default queues are added. known_s: how long an empty queue
    stays known if nobody declares it."""

    # Whoever sends this command together with others passes the reply to `update`.
    READ: ClassVar[tuple[Any, ...]] = ("ZRANGE", keys.DECLARED, 0, -1, "WITHSCORES")

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
        """All queues that are listed. Asks Redis."""
        with translate_errors():
            self._keep(await reply_of(self._nodes.shared.zrange(keys.DECLARED, 0, -1, withscores=True)) or ())
        return self.listed()

    def listed(self, kind: JobKind | None = None) -> list[QueueName]:
        """The queues that were listed by the last answer of Redis, of all kinds or of one."""
        return sorted(queue for queue in self._listed if kind is None or kind_of_queue(queue) is kind)

    async def takes_jobs(self, queue: QueueName) -> bool:
        """Asks Redis only if the queue is not known, or was last seen more than some seconds ago."""
        if queue in self.always:
            return True
        if queue not in self._taking or time.monotonic() > self._fresh_until:
            await self.names()
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
            statuses = await statuses_of(self._nodes, sorted({*old, *lost}))
            used = [status.name for status in statuses if sum(status.jobs.values())]
            empty = [queue for queue in old if queue not in used]
            self._used -= lost.difference(used)
            await self._call([queue for queue in used if queue in lost or queue not in self._taking], empty)
        return self.listed()

    def update(self, reply: Any) -> None:
        """reply: of READ, an error included."""
        with translate_errors():
            [flat] = or_nothing([reply])
        flat = flat or ()
        self._keep(zip(flat[::2], map(float, flat[1::2]), strict=True))

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
