"""How an attempt ends: the runtime makes one of these values from a handler's run and settles the attempt with it."""

import msgspec

from shared_schemas.errors import ErrorInfo


class Success(msgspec.Struct, frozen=True):
    """result: JSON. digest: sha256 hex over the part that a replay with the same seed must reproduce. facts: what it
    was made with, by name, so that a replay that differs can say why; they are kept with each job, so few and short."""

    result: msgspec.Raw
    digest: str | None = None
    facts: dict[str, str] = {}


class Failure(msgspec.Struct, frozen=True):
    """The job fails for good."""

    error: ErrorInfo


class Retry(msgspec.Struct, frozen=True):
    """The attempt failed; the job is due again after delay_s."""

    error: ErrorInfo
    delay_s: float


class Release(msgspec.Struct, frozen=True):
    """The worker gives the job back (drain, pause): queued again at the front, nothing charged."""


class Cancellation(msgspec.Struct, frozen=True):
    """The job was cancelled while it ran."""


Outcome = Success | Failure | Retry | Release | Cancellation
