"""Reads all queues at the same time. `queues` says which queues exist. Changes none."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from shared_schemas.ids import JobId, QueueName
from shared_schemas.job import JobState, QueueStatus, WorkerStatus
from shared_schemas.kinds import JobKind
from shared_schemas.stream.asking import Call, ask_queues
from shared_schemas.stream.listing import Page, page_arguments, page_from
from shared_schemas.stream.nodes import Nodes
from shared_schemas.stream.queue_status import STATUS_CALL, status_from, statuses_of
from shared_schemas.stream.queues import Queues
from shared_schemas.stream.workers import with_shared_gpus, workers_of


class QueueQueries:
    """Each method takes one round trip for each node, and another only if queues were added since the last one."""

    def __init__(self, nodes: Nodes, catalog: Queues) -> None:
        self._nodes, self._catalog = nodes, catalog

    async def statuses(self) -> list[QueueStatus]:
        """The jobs and the number of workers of each queue."""
        replies = await self.ask(lambda _: STATUS_CALL)
        return [status_from(queue, reply) for queue, reply in replies.items()]

    async def status(self, queue: QueueName) -> QueueStatus:
        """The same for one queue, whether it is listed or not."""
        [status] = await statuses_of(self._nodes, [queue])
        return status

    async def workers(self) -> list[WorkerStatus]:
        """The workers of all queues that are registered now."""
        replies = await self.ask(lambda _: ("workers", {}))
        return with_shared_gpus([worker for queue, rows in replies.items() for worker in workers_of(queue, rows)])

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
        """As listing.page_of, for each of `queues`, or each queue of a kind. before: for each queue, the job that all
        listed jobs are older than."""

        def call(queue: QueueName) -> tuple[str, dict[str, Any]]:
            return "list", page_arguments(sets, states=states, limit=limit, before=before(queue))

        if queues is None:
            replies = await self.ask(call, kind=kind)
        else:
            replies, _ = await ask_queues(self._nodes, sorted(set(queues)), call)
        return [page_from(queue, reply) for queue, reply in replies.items()]

    async def ask(self, call: Call, *, kind: JobKind | None = None) -> dict[QueueName, Any]:
        """Run a script for each queue, or each queue of a kind. -> the reply of each queue"""
        replies: dict[QueueName, Any] = {}
        while not_asked := [queue for queue in self._catalog.listed(kind) if queue not in replies]:
            found, [declared] = await ask_queues(self._nodes, not_asked, call, first=[self._catalog.READ])
            self._catalog.update(declared)
            replies |= found
        return {queue: replies[queue] for queue in self._catalog.listed(kind)}
