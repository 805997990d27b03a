"""One attempt as the runtime holds it: its outbox, and the ways to ask it to stop.

The handler sees the same object through handler.Attempt. It does not talk to Redis: the recorder empties the outbox.
"""

import math
import time
from collections import deque
from collections.abc import Callable, Iterable
from itertools import islice

import anyio
from shared_schemas.codec import EncodedEvent, encoded
from shared_schemas.errors import ClaimLost
from shared_schemas.events import JobEvent, Logged, Progressed
from shared_schemas.ids import JobId
from shared_schemas.job import Checkpoint
from shared_schemas.specs import JobSpec
from shared_schemas.stream.attempt_writer import Batch
from shared_schemas.stream.claims import Claim

from worker_runtime.handler import StopReason

OUTBOX_EVENTS = 1000
LOG_LINES = 5000
LINE_CHARACTERS = 8192
# Between two records of progress; twice as long after each so many, as a timeline must not grow with the hours.
PROGRESS_INTERVAL_S, PROGRESS_EVENTS = 0.25, 1000
BATCH_EVENTS = 500
# Past its timeout by this much, an attempt whose event loop hangs is left to be reclaimed.
OVERTIME_S = 30.0

_PROGRESS, _LOG = str(Progressed.__struct_config__.tag), str(Logged.__struct_config__.tag)
_COOPERATIVE = (StopReason.DRAINING, StopReason.PAUSED)


class RunningAttempt:
    def __init__(self, claim: Claim, spec: JobSpec, *, ring: Callable[[], None]) -> None:
        self.claim, self.scope = claim, anyio.CancelScope()
        self._spec, self._ring = spec, ring
        self._stop: StopReason | None = None
        self._stopped: anyio.Event | None = None
        self._outbox: deque[EncodedEvent] = deque()
        self._confirmed = 0
        # Made when somebody waits: most attempts end before anybody does.
        self._moved: anyio.Event | None = None
        self._late_progress: EncodedEvent | None = None
        self._progress_at, self._n_progress = -math.inf, 0
        self._pause_asked_at = math.inf
        self._is_ending = False
        self._lines = 0
        self._dropped = 0
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
        # A pause may be withdrawn before the waiter wakes.
        while self._stop is None:
            if self._stopped is None:
                self._stopped = anyio.Event()
            await self._stopped.wait()
        return self._stop

    def ask(self, reason: StopReason) -> None:
        """Ask the handler to end. A stronger reason replaces a weaker one; a lost claim is the last word."""
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
            self._wake()

    def withdraw_pause(self) -> None:
        if self._stop is StopReason.PAUSED:
            self._stop, self._stopped = None, None

    def wants_renewal(self, now: float) -> bool:
        """now: by the monotonic clock. Called from the heartbeat's thread."""
        return self._stop is not StopReason.CLAIM_LOST and now < self._renew_until

    def has_ignored_pause(self, *, grace_s: float) -> bool:
        return self._stop is StopReason.PAUSED and time.monotonic() - self._pause_asked_at >= grace_s

    async def record(self, event: JobEvent) -> None:
        await self._room()
        if isinstance(event, Logged):
            event = Logged(line=_presentable(event.line), level=event.level, dropped=event.dropped)
        # What cannot be written must fail here, in the handler that made it, and not in the call that serves all.
        self._put(encoded(event))
        self._ring()

    async def pass_on(self, events: Iterable[EncodedEvent]) -> None:
        for event in events:
            await self._room()
            self._put(event)
        self._ring()

    async def _room(self) -> None:
        while len(self._outbox) >= OUTBOX_EVENTS:
            await self._wait_for_room()
        self._refuse_if_lost()

    def _put(self, event: EncodedEvent) -> None:
        if event.name == _PROGRESS:
            self._late_progress = event
            if self.progress_due_s <= 0.0:
                self._release_progress()
            return
        if event.name == _LOG:
            if self._lines >= LOG_LINES:
                self._dropped += 1
                return
            self._lines += 1
        self._outbox.append(event)

    async def flush(self) -> None:
        self._release_progress()
        target = self._confirmed + len(self._outbox)
        while self._confirmed < target:
            await self._wait_for_room()
        self._refuse_if_lost()

    def unsent(self, *, limit: int = BATCH_EVENTS) -> Batch | None:
        """The next events to record; the same again until `confirm`."""
        if self._is_ending or self._stop is StopReason.CLAIM_LOST:
            return None
        if self.progress_due_s <= 0.0:
            self._release_progress()
        if not self._outbox:
            return None
        return Batch(self.claim, self._confirmed, tuple(islice(self._outbox, limit)))

    @property
    def progress_due_s(self) -> float:
        """Seconds until progress may be recorded again."""
        interval_s = PROGRESS_INTERVAL_S * 2.0 ** (self._n_progress // PROGRESS_EVENTS)
        return self._progress_at + interval_s - time.monotonic()

    @property
    def holds_progress(self) -> bool:
        return self._late_progress is not None and not self._is_ending

    def last_batch(self) -> Batch:
        """All that is left, thinned progress and the count of dropped lines included. It travels with the end of the
        attempt: `unsent` gives nothing more."""
        self._release_progress()
        self._is_ending = True
        if self._dropped:
            line = f"{self._dropped} more lines were left out"
            self._outbox.append(encoded(Logged(line=line, level="warning", dropped=self._dropped)))
            self._dropped = 0
        return Batch(self.claim, self._confirmed, tuple(self._outbox))

    def confirm(self, batch: Batch) -> None:
        recorded = batch.first + len(batch.events) - self._confirmed
        for _ in range(recorded):
            self._outbox.popleft()
        self._confirmed += max(0, recorded)
        self._wake()

    def _release_progress(self) -> None:
        if self._late_progress is not None:
            self._outbox.append(self._late_progress)
            self._progress_at, self._late_progress = time.monotonic(), None
            self._n_progress += 1
            self._ring()

    def _wake(self) -> None:
        if self._moved is not None:
            self._moved.set()
            self._moved = None

    async def _wait_for_room(self) -> None:
        self._refuse_if_lost()
        if self._moved is None:
            self._moved = anyio.Event()
        await self._moved.wait()

    def _refuse_if_lost(self) -> None:
        if self._stop is StopReason.CLAIM_LOST:
            raise ClaimLost("another attempt owns the job now")


def _presentable(line: str) -> str:
    """Cut to length, and without the halves of characters that a child's output may hold."""
    cut = line if len(line) <= LINE_CHARACTERS else line[:LINE_CHARACTERS] + " …"
    return cut.encode("utf-8", "replace").decode("utf-8")
