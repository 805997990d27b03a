"""The interface between the runtime and a worker: what a handler gets and what it must do.

The runtime knows jobs, and a handler knows models. They share only this file.
"""

from collections.abc import Iterable
from enum import StrEnum
from typing import Protocol

from shared_schemas.codec import EncodedEvent
from shared_schemas.events import Emitted, JobEvent
from shared_schemas.ids import JobId
from shared_schemas.job import Checkpoint
from shared_schemas.kinds import JobKind
from shared_schemas.outcome import Release, Success
from shared_schemas.specs import JobSpec


class StopReason(StrEnum):
    """Why an attempt should end. For DRAINING and PAUSED, the handler saves a checkpoint and
    returns Release within the grace period. For the others, the handler is cancelled, and must free
    its resources within 2 s."""

    DRAINING = "draining"
    PAUSED = "paused"
    CANCELLED = "cancelled"
    TIMED_OUT = "timed_out"
    CLAIM_LOST = "claim_lost"


class Attempt(Protocol):
    """One run of a job. number: from 1. fence: unique to this attempt, for names of files that only
    it may write. checkpoint: the newest one that an earlier attempt recorded. replay_of: the job
    that this one repeats; a replay changes nothing but its own job."""

    @property
    def job_id(self) -> JobId: ...
    @property
    def spec(self) -> JobSpec: ...
    @property
    def number(self) -> int: ...
    @property
    def fence(self) -> str: ...
    @property
    def checkpoint(self) -> Checkpoint | None: ...
    @property
    def replay_of(self) -> JobId | None: ...
    @property
    def stop(self) -> StopReason | None:
        """Why the handler should end, None while it should go on."""
        ...

    async def stopped(self) -> StopReason:
        """Return once the handler is asked to end."""
        ...

    async def record(self, event: JobEvent) -> None:
        """Add an event to the timeline. It is sent soon, in order, together with other events of
        the same turn of the event loop. Waits while the outbox is full. Progress is thinned to a
        few events a second, and log lines past their limit are counted instead of kept; nothing
        else is dropped. ClaimLost once another attempt owns the job."""
        ...

    async def pass_on(self, events: Iterable[EncodedEvent]) -> None:
        """As `record`, for events that another process has encoded: their bytes go to the timeline
        unchanged. Use `record` for lines of the log, because it cuts long ones."""
        ...

    async def emitted(self) -> list[Emitted]:
        """What earlier attempts at the job have emitted, in order. BackendUnavailable."""
        ...

    async def flush(self) -> None:
        """Return once everything recorded so far is in Redis. ClaimLost if another attempt owns the job."""
        ...


class Handler(Protocol):
    """What a worker does with an attempt."""

    kind: JobKind

    def describe(self) -> dict[str, str]:
        """Facts for GET /workers: device, library versions."""
        ...

    async def run(self, attempt: Attempt) -> Success | Release:
        """Do the work. A HeadraceError ends the attempt as a typed failure, and its `retryable`
        decides whether the job is tried again. WorkerUnfit ends the worker as well, which gives
        back its other jobs. Any other exception is an internal, retryable failure. Cancellation
        must propagate."""
        ...
