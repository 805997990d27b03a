"""Tasks that run attempts, one after another each: to start a task costs more than a short job takes."""

from collections import deque
from collections.abc import Awaitable, Callable

import anyio
from anyio.abc import TaskGroup

from worker_runtime.attempt import RunningAttempt


class Slots:
    """run: what a slot does with an attempt; it must not raise."""

    def __init__(self, run: Callable[[RunningAttempt], Awaitable[None]]) -> None:
        self._run = run
        self._begun: deque[RunningAttempt] = deque()
        self._idle: list[anyio.Event] = []

    def start(self, attempt: RunningAttempt, tasks: TaskGroup) -> None:
        self._begun.append(attempt)
        if self._idle:
            self._idle.pop().set()
        else:
            tasks.start_soon(self._serve)

    async def _serve(self) -> None:
        while True:
            while self._begun:
                await self._run(self._begun.popleft())
            called = anyio.Event()
            self._idle.append(called)
            await called.wait()
