"""Runs many rows of one job side by side. It knows neither what the rows mean nor how they are batched."""

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import anyio
from shared_schemas.errors import AttemptFailed, HeadraceError, WorkerUnfit

from inference_worker.engines.batching import BatchingEngine
from inference_worker.tensors import Arrays, Row

T = TypeVar("T")
_AT_ONCE = 64


async def infer_all(
    engine: BatchingEngine,
    parts: Sequence[T],
    *,
    row_of: Callable[[T], Row],
    length_of: Callable[[T], int],
    alone: bool,
) -> list[Arrays | AttemptFailed]:
    """The outputs of the row of each part, or its error, in the order of the parts. alone: see BatchingEngine.infer. An
    error after which another attempt may succeed is raised instead, because it is not the fault of a row:
    AttemptFailed, WorkerUnfit."""
    outputs: list[Arrays | AttemptFailed] = [{}] * len(parts)
    ended_by: list[AttemptFailed] = []
    # Rows of one length share a run, so they wait side by side. Few rows are made ahead, because many take much memory.
    left = iter(sorted(range(len(parts)), key=lambda place: length_of(parts[place])))

    async def infer_some(scope: anyio.CancelScope) -> None:
        for place in left:
            try:
                outputs[place] = await engine.infer(row_of(parts[place]), alone=alone)
            except AttemptFailed as error:
                if isinstance(error, WorkerUnfit) or error.info().retryable:
                    ended_by.append(error)
                    scope.cancel()
                    return
                outputs[place] = error

    async with anyio.create_task_group() as tasks:
        for _ in range(min(_AT_ONCE, len(parts))):
            tasks.start_soon(infer_some, tasks.cancel_scope)
    if ended_by:
        raise ended_by[0]
    return outputs


async def in_order(calls: Sequence[Callable[[], Awaitable[T]]]) -> list[T]:
    """What each of them returns, side by side. Raises what the first of them raises that fails."""
    found: dict[int, T] = {}
    failed: list[HeadraceError] = []

    async def call(place: int, scope: anyio.CancelScope) -> None:
        try:
            found[place] = await calls[place]()
        except HeadraceError as error:
            failed.append(error)
            scope.cancel()

    if len(calls) == 1:
        return [await calls[0]()]
    async with anyio.create_task_group() as tasks:
        for place in range(len(calls)):
            tasks.start_soon(call, place, tasks.cancel_scope)
    if failed:
        raise failed[0]
    return [found[place] for place in range(len(calls))]
