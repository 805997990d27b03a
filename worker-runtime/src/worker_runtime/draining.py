"""Ends a worker: it stops claiming, asks running attempts to save a checkpoint and end, and releases the rest."""

import signal
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import structlog

from worker_runtime.active_attempts import ActiveAttempts
from worker_runtime.handler import StopReason

# Seconds that a claim under way may take: more than the longest wait for an entry.
CLAIMING_S = 3.0
# Seconds that the last settlements may take when Redis is slow or away.
SETTLE_S = 10.0


class Draining:
    def __init__(self, active: ActiveAttempts, *, worker: str, grace_s: float) -> None:
        self._active, self._worker, self._grace_s = active, worker, grace_s
        self._begun, self._hurried = anyio.Event(), anyio.Event()

    @property
    def has_begun(self) -> bool:
        return self._begun.is_set()

    async def begun(self) -> None:
        await self._begun.wait()

    def begin(self) -> None:
        """A second call ends the time of grace at once."""
        if self._begun.is_set():
            self._hurried.set()
        self._begun.set()

    async def wait_unless_draining(self, wait: Callable[..., Awaitable[Any]], *arguments: Any) -> None:
        """Wait, but no longer than until draining begins."""
        async with anyio.create_task_group() as group:

            async def watch() -> None:
                await self._begun.wait()
                group.cancel_scope.cancel()

            group.start_soon(watch)
            await wait(*arguments)
            group.cancel_scope.cancel()

    async def listen(self) -> None:
        """Turn SIGTERM and SIGINT into a drain."""
        with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            async for number in signals:
                structlog.get_logger().info("drain_requested", signal=signal.Signals(number).name)
                self.begin()

    async def run(self, claiming_ended: anyio.Event) -> None:
        """Return once no attempt is left, or Redis has not taken the last of them in time.

        claiming_ended: set when nothing more will be claimed. Cutting off a claim could leave an attempt that nobody
        runs.
        """
        await self._begun.wait()
        attempts = len(self._active.all())
        structlog.get_logger().info("draining", attempts=attempts, grace_s=self._grace_s)
        self._active.ask_all(StopReason.DRAINING)
        async with anyio.create_task_group() as group:
            group.start_soon(self._give_grace)
            with anyio.move_on_after(CLAIMING_S):
                await claiming_ended.wait()
        for attempt in self._active.all():
            attempt.scope.cancel()
        with anyio.move_on_after(SETTLE_S):
            await self._active.until_empty()
        for attempt in self._active.all():
            structlog.get_logger().error(
                "attempt_left_behind",
                job_id=attempt.job_id,
                attempt=attempt.number,
                worker=self._worker,
                reason="Redis did not take its end; its lease will run out",
            )

    async def _give_grace(self) -> None:
        with anyio.move_on_after(self._grace_s):
            async with anyio.create_task_group() as group:

                async def hurry() -> None:
                    await self._hurried.wait()
                    group.cancel_scope.cancel()

                group.start_soon(hurry)
                await self._active.until_empty()
                group.cancel_scope.cancel()
        for attempt in self._active.all():
            attempt.scope.cancel()
