"""What is heard of jobs from before they are stored, so that whoever submits and follows them need
not read their timelines. Knows no stream.

The channels are asked for before the jobs are sent. Redis then says of each job whether its channel
had a subscriber as it was stored. If so, every event after the first one is notified, and the
answer to the submission has the first one.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Self

from shared_schemas.ids import JobId
from shared_schemas.stream import keys

from gateway.feed.hub import Hub, Notification, Signal

# Notifications that are kept until the jobs are followed, for each job. Nearly always there are
# none, or that of the claim.
_MOST_KEPT = 16


class Heard:
    """A Listener until it is closed. Close it only after the jobs are followed, because a channel
    without a listener is left."""

    __slots__ = ("_connection", "_hub", "_is_whole", "_jobs", "_kept", "_stored")

    def __init__(self, hub: Hub, job_ids: Iterable[JobId]) -> None:
        self._hub = hub
        self._jobs = {keys.job_channel(job_id): job_id for job_id in job_ids}
        self._kept: list[tuple[str, Notification]] = []
        self._stored: dict[JobId, bytes] = {}
        self._is_whole, self._connection = True, hub.connection

    def __enter__(self) -> Self:
        self._hub.subscribe(self, self._jobs)
        return self

    def __exit__(self, *_: object) -> None:
        self._hub.unsubscribe(self, self._jobs)

    def store(self, first_events: Mapping[JobId, bytes]) -> None:
        """The jobs are stored. first_events: the first notification of each job whose channel had a
        subscriber then; other jobs are left out."""
        self._stored = dict(first_events)

    @property
    def connection(self) -> int:
        """The number of the hub's connection on which everything was heard."""
        return self._connection

    @property
    def job_ids(self) -> Collection[JobId]:
        """The jobs of which nothing was missed so far."""
        return self._stored.keys() if self._is_whole and self._hub.connection == self._connection else ()

    def notifications(self) -> Iterator[tuple[str, Notification]]:
        """Everything that was heard of `job_ids`, with the channel of each."""
        heard = self.job_ids
        for channel, job_id in self._jobs.items():
            if job_id in heard:
                yield channel, Notification(self._stored[job_id])
        for channel, notification in self._kept:
            if self._jobs[channel] in heard:
                yield channel, notification

    def expect(self, channel: str) -> None:
        pass

    def confirm(self, channel: str) -> None:
        pass

    def offer(self, channel: str, notification: Notification) -> None:
        if len(self._kept) < _MOST_KEPT * len(self._jobs):
            self._kept.append((channel, notification))
        else:
            self._is_whole = False

    def warn(self, signal: Signal) -> None:
        self._is_whole = False
