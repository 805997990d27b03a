"""One row of the table of error codes."""

import msgspec

# With these HTTP statuses, the same request may succeed later without a change.
_LATER = frozenset({408, 429, 503, 507})


class ErrorCode(msgspec.Struct, frozen=True, kw_only=True):
    """meaning, action: one sentence each, for a person who sees the code: what has happened, what to do.

    At least one of these says where the code is seen. status: the HTTP status of an answer with this
    code. part: the code is of one part of a request, in the `errors` of the answer. job: the code is
    of the error of a job, or of one input; the value is the `retryable` of that error. client: the
    code is of an exception of the client; the value is the `retryable` of that exception. inside:
    the code appears only in logs.
    """

    code: str
    meaning: str
    action: str
    status: int | None = None
    part: bool = False
    job: bool | None = None
    client: bool | None = None
    inside: bool = False

    @property
    def retryable(self) -> bool:
        """For the code of an answer: whether the same request may succeed later."""
        return self.status in _LATER
