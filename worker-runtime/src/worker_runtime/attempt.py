"""One running attempt: what its handler may use, and how the runtime asks it to stop.

The handler sees the same object as handler.Attempt. An attempt does not call Redis: its events go
to its outbox.
"""

import math
import time
from collections.abc import Callable, Iterable

import anyio
from shared_schemas.codec import EncodedEvent, decode_event, encoded
from shared_schemas.events import Emitted, JobEvent, Logged
from shared_schemas.ids import JobId
from shared_schemas.job import Checkpoint
from shared_schemas.specs import JobSpec
from shared_schemas.stream.claims import Claim
from shared_schemas.stream.timeline import Timeline

from worker_runtime.handler import StopReason
from worker_runtime.outbox import Outbox

LINE_CHARACTERS = 8192
# An attempt normally ends at its timeout. If the event loop hangs, its lease is renewed for this
# much longer, and then another worker reclaims the job.
OVERTIME_S = 30.0

_COOPERATIVE = (StopReason.DRAINING, StopReason.PAUSED)


class RunningAttempt:
    def __init__(
        self, claim: Claim, spec: JobSpec, *, wake_recorder: Callable[[], None], timeline: Timeline | None = None
    ) -> None:
        """timeline: where earlier attempts have recorded their events."""
        self.claim, self.scope = claim, anyio.CancelScope()
        self.outbox = Outbox(claim, wake_recorder)
        self._timeline = timeline
        self._spec, self._wake_recorder = spec, wake_recorder
        self._stop: StopReason | None = None
        # Only made when a task waits, because most attempts end before that.
        self._stopped: anyio.Event | None = None
        self._pause_asked_at = math.inf
        self._renew_until = math.inf if spec.timeout_s is None else time.monotonic() + spec.timeout_s + OVERTIME_S

    @property
    def job_id(self) -> JobId:
        return self.claim.job_id

    @property
    def spec(self) -> JobSpec:
        return self._spec

    @property
    def number(self) -> int:
        return self.claim.attempt

    @property
    def fence(self) -> str:
        return self.claim.fence

    @property
    def checkpoint(self) -> Checkpoint | None:
        return self.claim.checkpoint

    @property
    def replay_of(self) -> JobId | None:
        return self.claim.replay_of

    @property
    def stop(self) -> StopReason | None:
        return self._stop

    async def stopped(self) -> StopReason:
        # A pause may be withdrawn before the waiting task wakes.
        while self._stop is None:
            if self._stopped is None:
                self._stopped = anyio.Event()
            await self._stopped.wait()
        return self._stop

    def ask(self, reason: StopReason) -> None:
        """Ask the handler to end. A stronger reason replaces a weaker one, and nothing replaces a
        lost claim."""
        if self._stop is StopReason.CLAIM_LOST or reason is self._stop:
            return
        if self._stop is not None and reason in _COOPERATIVE and self._stop is not StopReason.PAUSED:
            return
        if reason is StopReason.PAUSED:
            self._pause_asked_at = time.monotonic()
        self._stop = reason
        if self._stopped is not None:
            self._stopped.set()
        if reason not in _COOPERATIVE:
            self.scope.cancel()
        if reason is StopReason.CLAIM_LOST:
            self.outbox.lose_claim()

    def withdraw_pause(self) -> None:
        if self._stop is StopReason.PAUSED:
            self._stop, self._stopped = None, None

    def wants_renewal(self, now: float) -> bool:
        """Whether the lease of this attempt should be renewed. now: of the monotonic clock. Called
        from the heartbeat's thread."""
        return self._stop is not StopReason.CLAIM_LOST and now < self._renew_until

    def has_ignored_pause(self, *, grace_s: float) -> bool:
        return self._stop is StopReason.PAUSED and time.monotonic() - self._pause_asked_at >= grace_s

    async def record(self, event: JobEvent) -> None:
        await self.outbox.wait_for_room()
        if isinstance(event, Logged):
            event = Logged(line=_presentable(event.line), level=event.level, dropped=event.dropped)
        # An event that cannot be encoded must fail here, in its handler, and not in the call that
        # records the events of all attempts.
        self.outbox.put(encoded(event))
        self._wake_recorder()

    async def emitted(self) -> list[Emitted]:
        found, n = list[Emitted](), 0
        while self._timeline is not None and self.number > 1:
            entries = await self._timeline.read(self.job_id, after=n)
            events = [decode_event(entry.data) for entry in entries]
            found += [each for each in events if isinstance(each, Emitted) and (each.attempt or 0) < self.number]
            if not entries:
                break
            n = entries[-1].n
        return found

    async def pass_on(self, events: Iterable[EncodedEvent]) -> None:
        for event in events:
            await self.outbox.wait_for_room()
            self.outbox.put(event)
        self._wake_recorder()

    async def flush(self) -> None:
        await self.outbox.flush()


def _presentable(line: str) -> str:
    """The line, cut to LINE_CHARACTERS, without the broken characters that a child's output may
    contain."""
    cut = line if len(line) <= LINE_CHARACTERS else line[:LINE_CHARACTERS] + " …"
    return cut.encode("utf-8", "replace").decode("utf-8")
