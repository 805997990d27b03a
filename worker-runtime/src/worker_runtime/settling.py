"""Settles attempts, with one `settle` call at a time for all that have ended meanwhile.

A call is repeated until Redis has answered. Knows no handler.
"""

from collections.abc import Callable
from typing import NamedTuple

import anyio
from shared_schemas.backoff import Backoff
from shared_schemas.errors import BackendUnavailable, CallRefused
from shared_schemas.stream.attempt_writer import AttemptWriter, Settlement

from worker_runtime.instrument import QueueObserver

BATCH_SETTLEMENTS = 200
# The most events of one call. Redis serves nobody else while it appends them, which takes a few
# milliseconds.
CALL_EVENTS = 2000


class _Ending(NamedTuple):
    settlement: Settlement
    on_answer: Callable[[bool], None]


class Settler:
    def __init__(self, writer: AttemptWriter, observer: QueueObserver) -> None:
        self._writer, self._observer = writer, observer
        self._endings: list[_Ending] = []
        self._woken = anyio.Event()

    def settle(self, settlement: Settlement, on_answer: Callable[[bool], None]) -> None:
        """on_answer: called with whether Redis accepted the settlement; False if another attempt
        owns the job. While Redis is unavailable, the settlement is kept and sent again. However
        much time has passed, the fence decides whether it is accepted."""
        self._endings.append(_Ending(settlement, on_answer))
        self._woken.set()

    async def run(self) -> None:
        backoff, most = Backoff(), BATCH_SETTLEMENTS
        while True:
            await self._woken.wait()
            self._woken = anyio.Event()
            while self._endings:
                batch = self._next_batch(most)
                try:
                    answers = await self._writer.settle([ending.settlement for ending in batch])
                except CallRefused as error:
                    # One of them may be the cause, and it must not keep the others from being
                    # settled.
                    most = max(1, len(batch) // 2)
                    self._observer.settle_refused_by_redis(len(batch), error)
                    if len(batch) == 1:
                        self._endings.remove(batch[0])
                        batch[0].on_answer(False)
                    await anyio.sleep(backoff.next_s())
                    continue
                except BackendUnavailable as error:
                    if backoff.is_fresh:
                        self._observer.settle_postponed(len(batch), error)
                    await anyio.sleep(backoff.next_s())
                    continue
                backoff.reset()
                most = min(BATCH_SETTLEMENTS, most * 2)
                self._observer.jobs_settled(len(batch))
                del self._endings[: len(batch)]
                for ending, accepted in zip(batch, answers, strict=True):
                    ending.on_answer(accepted)

    def _next_batch(self, most: int) -> list[_Ending]:
        """The next attempts to settle: as many as one call should contain, and at least one."""
        batch, events = list[_Ending](), 0
        for ending in self._endings[:most]:
            events += len(ending.settlement.batch.events)
            if batch and events > CALL_EVENTS:
                break
            batch.append(ending)
        return batch
