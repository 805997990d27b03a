"""A worker that is started again whenever it dies, as an orchestrator does."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio

from tests.support.worker_process import worker_process


@asynccontextmanager
async def restarted_worker(redis_url: str, *, slots: int, lease_s: float = 1.0) -> AsyncIterator[list[int]]:
    """A worker with the behaviour `obey` of worker_process. -> the exit statuses so far"""
    deaths: list[int] = []

    async def keep_running() -> None:
        while True:
            with worker_process(redis_url, "obey", lease_s=lease_s, slots=slots) as worker:
                deaths.append(await anyio.to_thread.run_sync(worker.wait, abandon_on_cancel=True))

    async with anyio.create_task_group() as group:
        group.start_soon(keep_running)
        yield deaths
        group.cancel_scope.cancel()
