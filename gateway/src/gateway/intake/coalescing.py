"""Joins the requests of many callers into one call: those that arrive during a call share the next
one. The only place where the gateway batches. Knows neither jobs nor Redis."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar, cast

import anyio
from shared_schemas.errors import BackendUnavailable

T = TypeVar("T")
R = TypeVar("R")

# So many take Redis a few milliseconds, during which it does nothing else.
CALL_ITEMS = 200
CALL_BYTES = 1 << 20


class _Waiting(Generic[T, R]):
    """One caller, and its item."""

    __slots__ = ("answer", "answered", "item", "n_bytes")

    def __init__(self, item: T, n_bytes: int, answered: "asyncio.Future[None]") -> None:
        self.item, self.n_bytes, self.answered = item, n_bytes, answered
        self.answer: R | Exception | None = None

    def resolve(self, answer: R | Exception) -> None:
        self.answer = answer
        # A caller that was cancelled has cancelled the future.
        if not self.answered.done():
            self.answered.set_result(None)


class Coalescer(Generic[T, R]):
    """call: returns one answer for each item, in their order. An answer that is an exception is
    raised to its caller. If the call raises BackendUnavailable, all its callers get that. If it
    raises anything else, it is repeated for each item alone, so it must be harmless to repeat."""

    def __init__(
        self,
        call: Callable[[Sequence[T]], Awaitable[Sequence[R | Exception]]],
        *,
        count: Callable[[int], None] = lambda _: None,
    ) -> None:
        """count: called with the number of items of each call."""
        self._call, self._count = call, count
        self._waiting: deque[_Waiting[T, R]] = deque()
        self._wake = anyio.Event()
        # Whether a call is under way, and how many items the last one carried.
        self._is_calling, self._last_size = False, 0
        # Looked up once. Each lookup would ask the system whether the process was forked meanwhile.
        self._loop: asyncio.AbstractEventLoop | None = None

    async def ask(self, item: T, *, n_bytes: int = 0) -> R:
        """n_bytes: about how large the item is. A call carries at most CALL_BYTES, or one item."""
        if self._last_size <= 1 and not self._is_calling and not self._waiting:
            return await self._ask_alone(item)
        self._loop = self._loop or asyncio.get_running_loop()
        caller: _Waiting[T, R] = _Waiting(item, n_bytes, self._loop.create_future())
        self._waiting.append(caller)
        self._wake.set()
        await caller.answered
        if isinstance(caller.answer, Exception):
            raise caller.answer
        return cast(R, caller.answer)

    async def _ask_alone(self, item: T) -> R:
        """Call without `run`. While callers arrive one at a time, handing each item to the task of
        `run` and the answer back would cost a tenth of a submission. A caller that is cancelled
        ends only its own call."""
        self._count(1)
        self._is_calling = True
        try:
            [answer] = await self._call([item])
        finally:
            self._is_calling = False
            if self._waiting:
                self._wake.set()
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def run(self) -> None:
        """Call for those that wait, until cancelled. Callers that still wait then get
        BackendUnavailable."""
        try:
            while True:
                await self._wake.wait()
                self._wake = anyio.Event()
                # A call of `_ask_alone` sets the event again when it ends.
                while self._waiting and not self._is_calling:
                    await self._call_for(self._next_call())
        finally:
            for caller in self._waiting:
                caller.resolve(_stopping())
            self._waiting.clear()

    def _next_call(self) -> list[_Waiting[T, R]]:
        taken, n_bytes = [self._waiting.popleft()], 0
        while self._waiting and len(taken) < CALL_ITEMS:
            n_bytes += self._waiting[0].n_bytes
            if n_bytes > CALL_BYTES:
                break
            taken.append(self._waiting.popleft())
        return taken

    async def _call_for(self, taken: list[_Waiting[T, R]]) -> None:
        self._count(len(taken))
        self._last_size, self._is_calling = len(taken), True
        try:
            answers = await self._call([caller.item for caller in taken])
        except BackendUnavailable as error:
            for caller in taken:
                caller.resolve(error)
        except Exception as error:
            # One item may be the cause, so each is tried alone and gets its own error.
            if len(taken) == 1:
                taken[0].resolve(error)
            for caller in taken if len(taken) > 1 else ():
                await self._call_for([caller])
        except BaseException:
            for caller in taken:
                caller.resolve(_stopping())
            raise
        else:
            for caller, answer in zip(taken, answers, strict=True):
                caller.resolve(answer)
        finally:
            self._is_calling = False


def _stopping() -> BackendUnavailable:
    return BackendUnavailable("the gateway is stopping")
