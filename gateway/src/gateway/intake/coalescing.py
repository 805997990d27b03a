"""Many callers, one call: what is asked while a call is under way waits for the next one. The only place where the
gateway batches. Knows neither jobs nor Redis."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar, cast

import anyio
from shared_schemas.errors import BackendUnavailable

T = TypeVar("T")
R = TypeVar("R")

# One call holds Redis up for no longer than these take, a few milliseconds.
CALL_ITEMS = 200
CALL_BYTES = 1 << 20


class _Asked(Generic[T, R]):
    __slots__ = ("answer", "answered", "item", "n_bytes")

    def __init__(self, item: T, n_bytes: int, answered: "asyncio.Future[None]") -> None:
        self.item, self.n_bytes, self.answered = item, n_bytes, answered
        self.answer: R | Exception | None = None

    def hear(self, answer: R | Exception) -> None:
        self.answer = answer
        # Whoever went away meanwhile has cancelled it.
        if not self.answered.done():
            self.answered.set_result(None)


class Coalescer(Generic[T, R]):
    """call: one answer for each item, in their order; an answer that is an exception is raised to its caller. A call
    that raises BackendUnavailable does so to all its callers; where it raises anything else it is made again for
    each of them alone, so it must be harmless to repeat."""

    def __init__(
        self,
        call: Callable[[Sequence[T]], Awaitable[Sequence[R | Exception]]],
        *,
        count: Callable[[int], None] = lambda _: None,
    ) -> None:
        """count: told how many items each call carries."""
        self._call, self._count = call, count
        self._waiting: deque[_Asked[T, R]] = deque()
        self._rung = anyio.Event()
        # Whether a call is under way, and how many items the last one carried.
        self._is_calling, self._last_size = False, 0
        # Looked up once: the interpreter asks the system each time whether the process was forked meanwhile.
        self._loop: asyncio.AbstractEventLoop | None = None

    async def ask(self, item: T, *, n_bytes: int = 0) -> R:
        """n_bytes: about how large the item is; a call carries CALL_BYTES of them, or one."""
        if self._last_size <= 1 and not self._is_calling and not self._waiting:
            return await self._ask_alone(item)
        self._loop = self._loop or asyncio.get_running_loop()
        asked: _Asked[T, R] = _Asked(item, n_bytes, self._loop.create_future())
        self._waiting.append(asked)
        self._rung.set()
        await asked.answered
        if isinstance(asked.answer, Exception):
            raise asked.answer
        return cast(R, asked.answer)

    async def _ask_alone(self, item: T) -> R:
        """Where callers come one by one, to hand the call to another task and its answer back costs a tenth of a
        submission. A caller that is cancelled ends its own call alone."""
        self._count(1)
        self._is_calling = True
        try:
            [answer] = await self._call([item])
        finally:
            self._is_calling = False
            if self._waiting:
                self._rung.set()
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def run(self) -> None:
        """Serve for ever. Whoever still waits when this ends is told that the gateway is stopping."""
        try:
            while True:
                await self._rung.wait()
                self._rung = anyio.Event()
                # A call that a caller makes by itself wakes this again when it is answered.
                while self._waiting and not self._is_calling:
                    await self._answer(self._next_call())
        finally:
            for asked in self._waiting:
                asked.hear(_stopping())
            self._waiting.clear()

    def _next_call(self) -> list[_Asked[T, R]]:
        taken, n_bytes = [self._waiting.popleft()], 0
        while self._waiting and len(taken) < CALL_ITEMS:
            n_bytes += self._waiting[0].n_bytes
            if n_bytes > CALL_BYTES:
                break
            taken.append(self._waiting.popleft())
        return taken

    async def _answer(self, taken: list[_Asked[T, R]]) -> None:
        self._count(len(taken))
        self._last_size, self._is_calling = len(taken), True
        try:
            answers = await self._call([asked.item for asked in taken])
        except BackendUnavailable as error:
            for asked in taken:
                asked.hear(error)
        except Exception as error:  # perhaps because of one item: each is tried alone and gets its own error
            if len(taken) == 1:
                taken[0].hear(error)
            for asked in taken if len(taken) > 1 else ():
                await self._answer([asked])
        except BaseException:
            for asked in taken:
                asked.hear(_stopping())
            raise
        else:
            for asked, answer in zip(taken, answers, strict=True):
                asked.hear(answer)
        finally:
            self._is_calling = False


def _stopping() -> BackendUnavailable:
    return BackendUnavailable("the gateway is stopping")
