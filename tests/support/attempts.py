"""An attempt without Redis: it keeps what a handler records, and a test can ask it to stop."""

from collections.abc import Callable, Iterable

import anyio
from shared_schemas.codec import EncodedEvent, decode_event
from shared_schemas.events import Emitted, Gap, JobEvent
from shared_schemas.ids import JobId
from shared_schemas.job import Checkpoint
from shared_schemas.specs import JobSpec, TrainingSpec
from worker_runtime.handler import StopReason


class CollectingAttempt:
    """Implements worker_runtime.handler.Attempt. events: those that were recorded, in order. earlier: what other
    attempts emitted, and stop: to be set by the test."""

    def __init__(
        self,
        spec: JobSpec,
        *,
        number: int = 1,
        fence: str | None = None,
        checkpoint: Checkpoint | None = None,
        job_id: str | None = None,
        replay_of: JobId | None = None,
    ) -> None:
        kind = "training" if isinstance(spec, TrainingSpec) else "inference"
        self.job_id = JobId(job_id or f"{kind}-01arz3ndektsv4rrffq69g5fav")
        self.spec = spec
        self.number = number
        self.fence = fence or f"{number}-0123456789abcdef"
        self.checkpoint = checkpoint
        self.replay_of = replay_of
        self.events: list[JobEvent] = []
        self.earlier: list[Emitted] = []
        self._stop: StopReason | None = None
        self._stopped = anyio.Event()
        self._changed = anyio.Event()

    @property
    def stop(self) -> StopReason | None:
        return self._stop

    @stop.setter
    def stop(self, reason: StopReason) -> None:
        self._stop = reason
        self._stopped.set()

    async def stopped(self) -> StopReason:
        await self._stopped.wait()
        assert self._stop is not None
        return self._stop

    async def record(self, event: JobEvent) -> None:
        await anyio.lowlevel.checkpoint()
        self.events.append(event)
        self._changed.set()
        self._changed = anyio.Event()

    async def pass_on(self, events: Iterable[EncodedEvent]) -> None:
        for event in events:
            decoded = decode_event(b"{" + event.body.encode())
            assert not isinstance(decoded, Gap)
            await self.record(decoded)

    async def emitted(self) -> list[Emitted]:
        return self.earlier

    async def flush(self) -> None:
        await anyio.lowlevel.checkpoint()

    async def until(self, is_met: Callable[[list[JobEvent]], bool], *, within_s: float = 20.0) -> None:
        """Wait until the recorded events meet a condition."""
        with anyio.fail_after(within_s):
            while not is_met(self.events):
                await self._changed.wait()
