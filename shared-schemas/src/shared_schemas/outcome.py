"""How an attempt ends. The runtime turns what a handler returned or raised into one of these
values, and settles it."""

import msgspec

from shared_schemas.errors import ErrorInfo


class Success(msgspec.Struct, frozen=True):
    """result: JSON. digest: sha256 hex over the part that a replay with the same seed must
    reproduce. facts: by name, what the result was made with, to explain a replay that differs. Each
    job keeps them, so they must be few and short."""

    result: msgspec.Raw
    digest: str | None = None
    facts: dict[str, str] = {}


class Failure(msgspec.Struct, frozen=True):
    """The job fails for good."""

    error: ErrorInfo


class Retry(msgspec.Struct, frozen=True):
    """The attempt failed. The job is due again after delay_s."""

    error: ErrorInfo
    delay_s: float


class Release(msgspec.Struct, frozen=True):
    """The worker gives the job back, for a drain or a pause. It is queued again in the lane
    `front`, without a failure."""


class Cancellation(msgspec.Struct, frozen=True):
    """The job was cancelled while it ran."""


Outcome = Success | Failure | Retry | Release | Cancellation
