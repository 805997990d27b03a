"""A pool of tasks that run attempts, because starting a task takes longer than a short job.

Knows no handler and no Redis.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

from anyio.abc import TaskGroup

from worker_runtime.attempt import RunningAttempt

# How many tasks may be waking up at the same time. Each task that is awake wakes others before it
# runs an attempt, so all of them are awake after a few turns of the event loop. If attempts are
# short, they end before many tasks have woken without need.
WAKING_AT_ONCE = 2


class AttemptTasks:
    """run: what a task does with an attempt; it must not raise."""

    def __init__(self, run: Callable[[RunningAttempt], Awaitable[None]]) -> None:
        self._run = run
        self._waiting: deque[RunningAttempt] = deque()
        # Not of anyio, which looks for its backend at each event.
        self._idle: list[asyncio.Event] = []
        self._n_waking = 0

    def start(self, attempt: RunningAttempt, tasks: TaskGroup) -> None:
        self._waiting.append(attempt)
        self._wake(tasks)

    def _wake(self, tasks: TaskGroup) -> None:
        while self._n_waking < min(WAKING_AT_ONCE, len(self._waiting)):
            self._n_waking += 1
            if self._idle:
                self._idle.pop().set()
            else:
                tasks.start_soon(self._serve, tasks)

    async def _serve(self, tasks: TaskGroup) -> None:
        while True:
            self._n_waking -= 1
            while self._waiting:
                attempt = self._waiting.popleft()
                self._wake(tasks)
                await self._run(attempt)
            woken = asyncio.Event()
            self._idle.append(woken)
            await woken.wait()
