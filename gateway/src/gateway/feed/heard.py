"""What is heard of jobs from before they are stored, so that whoever submits and follows them need
not read their timelines. Knows no stream.

The channels are asked for before the jobs are sent. Redis then says of each job whether its channel
had a subscriber as it was stored. If so, every event after the first one is notified, and the
answer to the submission has the first one.
"""

from collections.abc import Collection, Iterable, Iterator
from typing import Protocol

from shared_schemas.ids import JobId
from shared_schemas.stream import keys

from gateway.feed.hub import Hub, Notification, Signal

# Notifications that are kept until the jobs are followed, for each job. Nearly always there are
# none, or that of the claim.
_MOST_KEPT = 16


class Answer(Protocol):
    """To the submission of a job. first_event: the payload of a notification, if the job's channel
    had a subscriber when the job was stored."""

    @property
    def job_id(self) -> JobId: ...
    @property
    def first_event(self) -> bytes | None: ...


class Heard:
    """A Listener until it is closed. Close it only after the jobs are followed, because a channel
    without a listener is left."""

    __slots__ = ("_connection", "_has_missed", "_hub", "_is_open", "_jobs", "_kept", "_stored")

    def __init__(self, hub: Hub, job_ids: Iterable[JobId]) -> None:
        self._hub = hub
        self._jobs = {keys.job_channel(job_id): job_id for job_id in job_ids}
        self._kept: list[tuple[str, Notification]] = []
        self._stored: dict[JobId, bytes] = {}
        self._has_missed, self._connection = False, hub.connection
        self._is_open = True
        hub.subscribe(self, self._jobs)

    def close(self) -> None:
        """May be called again."""
        if self._is_open:
            self._is_open = False
            self._hub.unsubscribe(self, self._jobs)

    def store(self, answers: Iterable[Answer]) -> None:
        """The jobs are stored. answers: of the submission, for some or all of the jobs; one may be
        about another job, that of an Idempotency-Key."""
        expected = set(self._jobs.values())
        for answer in answers:
            if answer.first_event is not None and answer.job_id in expected:
                self._stored[answer.job_id] = answer.first_event

    @property
    def connection(self) -> int:
        """The number of the hub's connection on which everything was heard."""
        return self._connection

    @property
    def job_ids(self) -> Collection[JobId]:
        """The jobs of which every event is notified, unless something was missed."""
        return self._stored.keys()

    @property
    def has_missed(self) -> bool:
        return self._has_missed or self._hub.connection != self._connection

    def notifications(self) -> Iterator[tuple[str, Notification]]:
        """Everything that was heard of `job_ids`, with the channel of each."""
        for channel, job_id in self._jobs.items():
            if job_id in self._stored:
                yield channel, Notification(self._stored[job_id])
        for channel, notification in self._kept:
            if self._jobs[channel] in self._stored:
                yield channel, notification

    def expect(self, channel: str) -> None:
        pass

    def confirm(self, channel: str) -> None:
        pass

    def offer(self, channel: str, notification: Notification) -> None:
        if len(self._kept) < _MOST_KEPT * len(self._jobs):
            self._kept.append((channel, notification))
        else:
            self._has_missed = True

    def warn(self, signal: Signal) -> None:
        self._has_missed = True
