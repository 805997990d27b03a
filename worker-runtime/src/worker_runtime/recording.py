"""Empties the outboxes: one `record` at a time for all attempts of a queue, whatever piled up meanwhile."""

from collections.abc import Callable

import anyio
from shared_schemas.errors import BackendUnavailable
from shared_schemas.stream.claims import Claims

from worker_runtime.attempt import RunningAttempt
from worker_runtime.backoff import Backoff
from worker_runtime.handler import StopReason


class Recorder:
    def __init__(self, claims: Claims, attempts: Callable[[], list[RunningAttempt]]) -> None:
        self._claims, self._attempts = claims, attempts
        self._rung = anyio.Event()

    def ring(self) -> None:
        self._rung.set()

    async def run(self) -> None:
        backoff = Backoff()
        while True:
            await self._rung.wait()
            self._rung = anyio.Event()
            try:
                while await self._record_once():
                    backoff.reset()
            except BackendUnavailable:
                await anyio.sleep(backoff.next_s())
                self.ring()

    async def _record_once(self) -> bool:
        unsent = [(attempt, batch) for attempt in self._attempts() if (batch := attempt.unsent()) is not None]
        if not unsent:
            return False
        kept = await self._claims.record([batch for _, batch in unsent])
        for (attempt, batch), held in zip(unsent, kept, strict=True):
            if held:
                attempt.confirm(batch)
            else:
                attempt.ask(StopReason.CLAIM_LOST)
        return True
