"""What both clients do with batches. Knows no connection."""

import os
from abc import abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID

from shared_schemas.batches import Batch, BatchResult

from headrace import batch_endpoints
from headrace.endpoints import Request, T


class BatchCalls:
    """Of the blocking client."""

    @abstractmethod
    def send(self, request: Request[T]) -> T: ...

    def submit_batch(
        self,
        lines: "bytes | os.PathLike[str] | Iterable[Mapping[str, Any]]",
        *,
        queue: str | None = None,
        idempotency_key: str | UUID | None = None,
    ) -> Batch:
        """Submit many inference jobs: a pathlib.Path of a file of JSON lines, its content, or the
        lines as mappings, each {"custom_id": …, "body": …}. A line that is no job is one of the
        batch's errors, and stops no other."""
        return self.send(batch_endpoints.submit_batch(lines, queue=queue, idempotency_key=idempotency_key))

    def batches(self, *, queue: str | None = None) -> tuple[Batch, ...]:
        """The newest batches, newest first."""
        return self.send(batch_endpoints.batches(queue=queue)).batches

    def batch(self, batch_id: str) -> Batch:
        """How many lines have arrived, and how many of their jobs are in each state."""
        return self.send(batch_endpoints.batch(batch_id))

    def cancel_batch(self, batch_id: str) -> Batch:
        return self.send(batch_endpoints.cancel_batch(batch_id))

    def batch_output(self, batch_id: str) -> tuple[BatchResult, ...]:
        """The results so far, in the order of the lines."""
        return self.send(batch_endpoints.batch_output(batch_id))

    def batch_errors(self, batch_id: str) -> tuple[BatchResult, ...]:
        """Lines that are no jobs, and jobs that have failed or were cancelled so far."""
        return self.send(batch_endpoints.batch_errors(batch_id))


class AsyncBatchCalls:
    """Of the async client. BatchCalls documents the methods."""

    @abstractmethod
    async def send(self, request: Request[T]) -> T: ...

    async def submit_batch(
        self,
        lines: "bytes | os.PathLike[str] | Iterable[Mapping[str, Any]]",
        *,
        queue: str | None = None,
        idempotency_key: str | UUID | None = None,
    ) -> Batch:
        return await self.send(batch_endpoints.submit_batch(lines, queue=queue, idempotency_key=idempotency_key))

    async def batches(self, *, queue: str | None = None) -> tuple[Batch, ...]:
        return (await self.send(batch_endpoints.batches(queue=queue))).batches

    async def batch(self, batch_id: str) -> Batch:
        return await self.send(batch_endpoints.batch(batch_id))

    async def cancel_batch(self, batch_id: str) -> Batch:
        return await self.send(batch_endpoints.cancel_batch(batch_id))

    async def batch_output(self, batch_id: str) -> tuple[BatchResult, ...]:
        return await self.send(batch_endpoints.batch_output(batch_id))

    async def batch_errors(self, batch_id: str) -> tuple[BatchResult, ...]:
        return await self.send(batch_endpoints.batch_errors(batch_id))
