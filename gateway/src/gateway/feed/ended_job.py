"""A sink that computes a job from its events, so that the answer to a request that waits for the end
need not be read. Knows no transport.
"""

from itertools import chain

import msgspec
from shared_schemas.codec import decode_event
from shared_schemas.errors import StateConflict
from shared_schemas.events import Measured
from shared_schemas.job import Job
from shared_schemas.lifecycle import fold

from gateway.feed.subscription import EndOnly
from gateway.feed.timeline_source import Batch

# A job with more events is read from Redis when it has ended.
_MOST_EVENTS = 64


class EndedJob(EndOnly[Batch]):
    """submitted: the job before its first event; None if it is not known."""

    def __init__(self, submitted: Job | None) -> None:
        super().__init__()
        self._submitted = submitted
        self._batches: list[Batch] = []
        self._n_events = 0

    def push(self, batch: Batch) -> None:
        self._n_events += len(batch.entries)
        if self._n_events > _MOST_EVENTS or batch.missing_up_to is not None:
            self._submitted = None
            self._batches.clear()
        elif self._submitted is not None:
            self._batches.append(batch)

    def job(self) -> Job | None:
        """The job as Redis keeps it. None if it must be read: there were too many events, one was
        missing or cannot be decoded, or the order of its metrics is not known."""
        if self._submitted is None:
            return None
        try:
            events = [decode_event(entry.data) for entry in chain.from_iterable(b.entries for b in self._batches)]
            if any(isinstance(event, Measured) for event in events):
                return None
            job = fold(self._submitted, events)
        except (msgspec.DecodeError, StateConflict):
            return None
        return job if job.state.is_terminal else None
