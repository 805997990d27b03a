"""Drains a worker: stops claiming, asks running attempts to end, and cancels the rest.

Knows no Redis: others settle the attempts.
"""

import signal
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import structlog

from worker_runtime.active_attempts import ActiveAttempts
from worker_runtime.handler import StopReason

# How many seconds a claim may take that has begun. More than the longest wait for an entry.
CLAIMING_S = 3.0
# How many seconds the last settlements may take, if Redis is slow or unavailable.
SETTLE_S = 10.0


class Draining:
    def __init__(self, active: ActiveAttempts, *, worker: str, grace_s: float) -> None:
        self._active, self._worker, self._grace_s = active, worker, grace_s
        self._begun, self._hurried = anyio.Event(), anyio.Event()

    @property
    def has_begun(self) -> bool:
        return self._begun.is_set()

    async def wait_until_begun(self) -> None:
        await self._begun.wait()

    def begin(self) -> None:
        """Start to drain. A second call ends the grace period at once."""
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
        """Wait for the drain to begin, and return once no attempt is left, or Redis has not settled
        the last ones in time.

        claiming_ended: set when nothing more will be claimed. A claim is not cancelled, because
        that could leave an attempt that no worker runs.
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
                reason="Redis did not settle it in time; its lease will run out",
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
