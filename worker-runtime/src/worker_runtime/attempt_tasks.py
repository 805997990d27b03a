"""Tasks that each run attempts one after another, because starting a task costs more than a short job takes."""

from collections import deque
from collections.abc import Awaitable, Callable

import anyio
from anyio.abc import TaskGroup

from worker_runtime.attempt import RunningAttempt

# A task that wakes wakes up to so many others before it runs an attempt. All of them are awake after a few turns of the
# event loop, and short attempts end before many tasks have woken for nothing.
CALLED_AT_ONCE = 2


class AttemptTasks:
    """run: what a task does with an attempt; it must not raise."""

    def __init__(self, run: Callable[[RunningAttempt], Awaitable[None]]) -> None:
        self._run = run
        self._begun: deque[RunningAttempt] = deque()
        self._idle: list[anyio.Event] = []
        self._n_called = 0

    def start(self, attempt: RunningAttempt, tasks: TaskGroup) -> None:
        self._begun.append(attempt)
        self._call(tasks)

    def _call(self, tasks: TaskGroup) -> None:
        while self._n_called < min(CALLED_AT_ONCE, len(self._begun)):
            self._n_called += 1
            if self._idle:
                self._idle.pop().set()
            else:
                tasks.start_soon(self._serve, tasks)

    async def _serve(self, tasks: TaskGroup) -> None:
        while True:
            self._n_called -= 1
            while self._begun:
                attempt = self._begun.popleft()
                self._call(tasks)
                await self._run(attempt)
            called = anyio.Event()
            self._idle.append(called)
            await called.wait()
