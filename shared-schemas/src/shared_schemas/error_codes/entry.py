"""One row of the table of error codes."""

import msgspec

# The same request may succeed later, although nothing about it changes.
_LATER = frozenset({408, 429, 503})


class ErrorCode(msgspec.Struct, frozen=True, kw_only=True):
    """meaning, action: one sentence each, for whoever meets the code: what has happened, what to do.

    Where it is seen, at least one of:
    status: HTTP status of an answer whose `code` it is. part: it is the code of one part of a request, in the answer's
    `errors`. job: it is the code of a job's or of one input's error, and this is that error's `retryable`.
    client: it is the code of an exception of the client, and this is that exception's `retryable`. inside: it never
    leaves its process but in a line of the log.
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
        """Whether the same request may succeed later. Of an answer."""
        return self.status in _LATER
