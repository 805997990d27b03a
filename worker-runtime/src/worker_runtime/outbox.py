"""The events of one attempt that Redis has not recorded yet. Knows no Redis and no handler.

The recorder empties it. Progress is thinned, and log lines past a limit are counted instead of
kept. Nothing else is left out: a handler that puts an event into a full outbox waits.
"""

import math
import time
from collections import deque
from collections.abc import Callable
from itertools import islice

import anyio
from shared_schemas.codec import EncodedEvent, encoded
from shared_schemas.errors import ClaimLost
from shared_schemas.events import Logged, Progressed
from shared_schemas.stream.attempt_writer import Batch
from shared_schemas.stream.claims import Claim

OUTBOX_EVENTS = 1000
LOG_LINES = 5000
# The shortest time between two events of progress. It doubles after each PROGRESS_EVENTS of them,
# so that the timeline of a long job stays short.
PROGRESS_INTERVAL_S, PROGRESS_EVENTS = 0.25, 1000
BATCH_EVENTS = 500

_PROGRESS, _LOG = str(Progressed.__struct_config__.tag), str(Logged.__struct_config__.tag)


class Outbox:
    """wake_recorder: called when there is something to record."""

    def __init__(self, claim: Claim, wake_recorder: Callable[[], None]) -> None:
        self._claim, self._wake_recorder = claim, wake_recorder
        self._events: deque[EncodedEvent] = deque()
        self._confirmed = 0
        # Only made when a task waits, because most attempts end before that.
        self._moved: anyio.Event | None = None
        self._waiting_progress: EncodedEvent | None = None
        self._progress_at, self._n_progress = -math.inf, 0
        self._is_ending = self._is_lost = False
        self._lines = self._dropped = 0

    async def wait_for_room(self) -> None:
        """ClaimLost once another attempt owns the job."""
        while len(self._events) >= OUTBOX_EVENTS:
            await self._wait_until_moved()
        self._refuse_if_lost()

    def put(self, event: EncodedEvent) -> None:
        if event.name == _PROGRESS:
            self._waiting_progress = event
            if self.progress_due_s <= 0.0:
                self._release_progress()
            return
        if event.name == _LOG:
            if self._lines >= LOG_LINES:
                self._dropped += 1
                return
            self._lines += 1
        self._events.append(event)

    async def flush(self) -> None:
        """Return once Redis has recorded all events so far. ClaimLost once another attempt owns the
        job."""
        self._release_progress()
        target = self._confirmed + len(self._events)
        while self._confirmed < target:
            await self._wait_until_moved()
        self._refuse_if_lost()

    def unsent(self, *, limit: int = BATCH_EVENTS) -> Batch | None:
        """The next events to record, at most `limit`; the same ones again until `confirm`. None if
        there are none."""
        if self._is_ending or self._is_lost:
            return None
        if self.progress_due_s <= 0.0:
            self._release_progress()
        if not self._events:
            return None
        return Batch(self._claim, self._confirmed, tuple(islice(self._events, limit)))

    @property
    def progress_due_s(self) -> float:
        """Seconds until progress may be recorded again; negative if it already may."""
        interval_s = PROGRESS_INTERVAL_S * 2.0 ** (self._n_progress // PROGRESS_EVENTS)
        return self._progress_at + interval_s - time.monotonic()

    @property
    def has_waiting_progress(self) -> bool:
        return self._waiting_progress is not None and not self._is_ending

    def last_batch(self) -> Batch:
        """All remaining events, with the newest progress and the count of dropped lines. They are
        sent with the settlement of the attempt, and `unsent` returns nothing more."""
        self._release_progress()
        self._is_ending = True
        if self._dropped:
            line = f"{self._dropped} more lines were left out"
            self._events.append(encoded(Logged(line=line, level="warning", dropped=self._dropped)))
            self._dropped = 0
        return Batch(self._claim, self._confirmed, tuple(self._events))

    def confirm(self, batch: Batch) -> None:
        """Redis has recorded the batch."""
        recorded = batch.first + len(batch.events) - self._confirmed
        for _ in range(recorded):
            self._events.popleft()
        self._confirmed += max(0, recorded)
        self._wake_waiters()

    def lose_claim(self) -> None:
        """Another attempt owns the job. Nothing more is recorded, and a handler that adds an event
        gets ClaimLost."""
        self._is_lost = True
        self._wake_waiters()

    def _release_progress(self) -> None:
        if self._waiting_progress is not None:
            self._events.append(self._waiting_progress)
            self._progress_at, self._waiting_progress = time.monotonic(), None
            self._n_progress += 1
            self._wake_recorder()

    def _wake_waiters(self) -> None:
        if self._moved is not None:
            self._moved.set()
            self._moved = None

    async def _wait_until_moved(self) -> None:
        self._refuse_if_lost()
        if self._moved is None:
            self._moved = anyio.Event()
        await self._moved.wait()

    def _refuse_if_lost(self) -> None:
        if self._is_lost:
            raise ClaimLost("another attempt owns the job now")
