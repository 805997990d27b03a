"""Follows the timeline of one job over connections that may break: decides what to request next,
and which events to return.

Pure, except for the clock that it is given. client.py and async_client.py read and wait.
"""

import random
from collections.abc import Callable, Mapping

import msgspec
from shared_schemas.codec import decode_event
from shared_schemas.events import Done, Gap, StreamEvent
from shared_schemas.retry import RetryPolicy

from headrace.checking import number_of
from headrace.errors import ProtocolError, Unreachable, WaitTimedOut, api_error
from headrace.sse import SseParser

_BACKOFF = RetryPolicy(backoff_s=0.2, max_backoff_s=5.0)
_LONGEST_ASKED_S = 30.0
_OK, _NO_CONTENT = 200, 204


class Received(msgspec.Struct, frozen=True):
    """event: None if this client does not know the type, because the gateway is newer. data:
    the JSON of the event."""

    n: int
    event: StreamEvent | None
    data: str


class _Stamp(msgspec.Struct):
    n: int


_decode_stamp = msgspec.json.Decoder(_Stamp).decode


class Following:
    """Send a request with `headers()`. Call `answered` when the response begins, `receive` for each
    chunk, and `cut` when it ends. Sleep `pause_s()` and send the next request, until `is_over()`.

    after: number of the last event that the caller has. patience_s: how long after a lost
    connection Unreachable is raised, if the gateway has sent nothing since; None: never. deadline:
    time of `clock` when WaitTimedOut is raised.
    """

    def __init__(
        self,
        *,
        after: int,
        patience_s: float | None,
        clock: Callable[[], float],
        rng: random.Random,
        deadline: float | None = None,
    ) -> None:
        self._over = False
        self.deadline = deadline
        self._after, self._patience_s, self._clock, self._rng = number_of(after), patience_s, clock, rng
        self._parser = SseParser()
        self._lost_at: float | None = None
        self._streams_without_event = 0
        self._asked_to_wait_s = 0.0
        self._cause: Exception | None = None

    def headers(self) -> dict[str, str]:
        return {"accept": "text/event-stream", "cache-control": "no-store", "last-event-id": str(self._after)}

    def is_over(self) -> bool:
        return self._over

    def remaining_s(self) -> float | None:
        return None if self.deadline is None else self.deadline - self._clock()

    def answered(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        """Take the head of a response, and its whole body if the status is not 200. ApiError if
        another request would not help."""
        if status == _NO_CONTENT:
            self._over = True
        elif status != _OK:
            error = api_error(status, body, retry_after=headers.get("retry-after"))
            if not error.retryable:
                raise error
            self._cause, self._asked_to_wait_s = error, error.retry_after_s or 0.0
        elif not headers.get("content-type", "").startswith("text/event-stream"):
            raise ProtocolError("the answer is not an event stream")
        else:
            self._parser = SseParser()
            self._cause = None

    def receive(self, chunk: bytes) -> list[Received]:
        """Take a chunk. -> the events after the last one returned, each once and in order"""
        self._lost_at = None
        received = []
        for sent in self._parser.feed(chunk):
            item = _decode(sent.data)
            if isinstance(item.event, Gap):
                # This can go backwards: if the gateway has lost events that this reader has seen,
                # the timeline begins again.
                self._after = item.event.oldest - 1
            elif item.n <= self._after:
                continue
            elif item.n > self._after + 1:
                raise self._misnumbered(item.n)
            else:
                self._after = item.n
            self._streams_without_event = 0
            received.append(item)
            if isinstance(item.event, Done):
                self._over = True
                break
        self._check_deadline()
        return received

    def cut(self, cause: Exception | None) -> None:
        """The stream has ended before the job. cause: None for an orderly end, for example
        when the gateway drains."""
        self._streams_without_event += 1
        self._cause = cause or self._cause
        self._lost_at = self._clock() if self._lost_at is None else self._lost_at
        self._check_deadline()

    def pause_s(self) -> float:
        """How long to wait before the next request. Unreachable after
        patience_s without contact."""
        silent_s = 0.0 if self._lost_at is None else self._clock() - self._lost_at
        if self._patience_s is not None and silent_s >= self._patience_s:
            raise Unreachable(f"no contact with the gateway for {silent_s:.0f} s: {self._cause}") from self._cause
        # The delay in the event stream counts only after an orderly end. After a connection that
        # broke, only the back-off counts.
        orderly = self._cause is None or self._asked_to_wait_s > 0
        asked_s = max(self._asked_to_wait_s, (self._parser.retry_ms or 0) / 1000 if orderly else 0.0)
        self._asked_to_wait_s = 0.0
        pause_s = min(asked_s, _LONGEST_ASKED_S) + _BACKOFF.delay_s(max(1, self._streams_without_event), self._rng)
        limits = [self.remaining_s(), None if self._patience_s is None else self._patience_s - silent_s]
        return max(0.0, min([pause_s, *(limit for limit in limits if limit is not None)]))

    def _misnumbered(self, n: int) -> ProtocolError:
        return ProtocolError(f"event {self._after + 1} is missing: the gateway went on with {n}")

    def _check_deadline(self) -> None:
        remaining_s = self.remaining_s()
        if remaining_s is not None and remaining_s <= 0 and not self._over:
            raise WaitTimedOut("the job has not ended in time")


def _decode(data: str) -> Received:
    try:
        event = decode_event(data)
    except msgspec.ValidationError:
        return Received(_number_of(data), None, data)
    except msgspec.DecodeError as error:
        raise ProtocolError(f"an event is not JSON: {error}") from None
    return Received(event.n, event, data)


def _number_of(data: str) -> int:
    try:
        return _decode_stamp(data).n
    except msgspec.MsgspecError as error:
        raise ProtocolError(f"an event has no number: {error}") from None
