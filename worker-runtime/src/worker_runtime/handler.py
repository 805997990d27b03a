"""The interface between the runtime and a worker: what a handler gets and what it must do.

The runtime knows jobs, a handler knows models; this file is all that they share.
"""

from collections.abc import Iterable
from enum import StrEnum
from typing import Protocol

from shared_schemas.codec import EncodedEvent
from shared_schemas.events import JobEvent
from shared_schemas.ids import JobId
from shared_schemas.job import Checkpoint
from shared_schemas.kinds import JobKind
from shared_schemas.outcome import Release, Success
from shared_schemas.specs import JobSpec


class StopReason(StrEnum):
    """DRAINING and PAUSED ask: save a checkpoint and return Release within the grace. The others do not ask:
    the handler's scope is cancelled, and what it holds must be free within 2 s."""

    DRAINING = "draining"
    PAUSED = "paused"
    CANCELLED = "cancelled"
    TIMED_OUT = "timed_out"
    CLAIM_LOST = "claim_lost"


class Attempt(Protocol):
    """One run of a job. number: from 1. fence: unique to this attempt, for names of files that only it may
    write. checkpoint: the newest one that an earlier attempt recorded. replay_of: the job that this one runs again;
    such a run changes nothing but its own job."""

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
        """Append to the timeline, in order, soon: events of one loop turn travel together. Waits when the
        outbox is full. Progress is thinned to a few a second; nothing else is dropped but log lines past
        their limit, which are counted. An event is refused once the claim is lost."""
        ...

    async def pass_on(self, events: Iterable[EncodedEvent]) -> None:
        """The same for events that another process has encoded: their bytes go to the timeline as they are. Lines of
        the log go through `record`, which cuts them."""
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
        """Do the work. A HeadraceError ends the attempt as a typed failure: `retryable` decides whether it is
        tried again. WorkerUnfit ends the worker as well, which gives back what else it holds. Any other exception
        is an internal, retryable failure. Cancellation must propagate."""
        ...
