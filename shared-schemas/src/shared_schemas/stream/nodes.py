"""Which Redis serves a queue, a job, or the keys that belong to no queue. Knows no key and sends no
command.

Today one Redis serves all of them. Every module of this package gets its client here, so that a
second node changes this file and not its callers.
docs/decisions/0038-one-place-names-the-node-of-a-queue.md says what else several nodes need.
"""

from collections.abc import Iterable, Sequence

from shared_schemas.ids import JobId, QueueName
from shared_schemas.stream.connection import AsyncRedis


class Nodes:
    """shared: the client for keys that belong to no single queue: declarations, the model registry, the versions of the
    database and of the artifact store.

    client: from connect or connect_one. A process may have several of these objects, each with connections of its own.
    """

    def __init__(self, client: AsyncRedis) -> None:
        self.shared = client

    def of_queue(self, queue: QueueName) -> AsyncRedis:
        return self.shared

    def of_job(self, job_id: JobId) -> AsyncRedis:
        return self.shared

    def group_queues(self, queues: Sequence[QueueName]) -> Iterable[tuple[AsyncRedis, Sequence[QueueName]]]:
        """Each client with the queues that it serves. The shared client is always among them, and comes first."""
        return ((self.shared, queues),)

    def group_jobs(self, job_ids: Sequence[JobId]) -> Iterable[tuple[AsyncRedis, Sequence[JobId]]]:
        """Each client with the jobs that it serves."""
        return ((self.shared, job_ids),)
