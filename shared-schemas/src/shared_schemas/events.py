"""What happens to a job, in order: the entries of its timeline.

A producer encodes an event once, as JSON, without its stamp. The script that appends it writes the
stamp in front: `n` (1, 2, 3, … without a gap), `at` (milliseconds since the epoch, by the clock of
Redis) and `attempt`. Readers pass these bytes on unchanged. The tag in `event` is also the SSE
event name.
"""

from enum import StrEnum
from typing import Literal

import msgspec

from shared_schemas.artifacts import ArtifactRef
from shared_schemas.errors import ErrorInfo
from shared_schemas.job import JobState
from shared_schemas.raw import null, readable


class Reason(StrEnum):
    """Why the state changed. lifecycle.TRANSITIONS has a row for each."""

    SUBMITTED = "submitted"
    SCHEDULED = "scheduled"
    DUE = "due"
    CLAIMED = "claimed"
    RETRY = "retry"
    RELEASED = "released"
    WORKER_LOST = "worker_lost"
    PAUSE_REQUESTED = "pause_requested"
    PAUSE_WITHDRAWN = "pause_withdrawn"
    PAUSED = "paused"
    RESUMED = "resumed"
    CANCEL_REQUESTED = "cancel_requested"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


class _Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="event"):
    n: int = 0
    at: int = 0
    attempt: int = 0


class StateChanged(_Event, frozen=True, kw_only=True, omit_defaults=True, tag="state"):
    """delay_ms: how long a scheduled job waits, counted from `at`. error: why the attempt before a
    retry failed."""

    state: JobState
    reason: Reason
    worker: str | None = None
    delay_ms: int | None = None
    error: ErrorInfo | None = None


class Progressed(_Event, frozen=True, kw_only=True, omit_defaults=True, tag="progress"):
    """fraction: 0 to 1 of the whole job. step and total: optimiser steps or items. epoch: from 1."""

    fraction: float
    step: int | None = None
    total: int | None = None
    epoch: int | None = None
    message: str | None = None


class Measured(_Event, frozen=True, kw_only=True, omit_defaults=True, tag="metric"):
    """values: finite numbers by name (loss, accuracy, perplexity, learning_rate, steps_per_s, …); a
    value that was not finite is null. step: optimiser steps done. A long run sends only some; see
    recipe_kit.series."""

    split: Literal["train", "validation", "test"]
    step: int
    values: dict[str, float | None]


class Logged(_Event, frozen=True, kw_only=True, omit_defaults=True, tag="log"):
    """One line of the job's log. dropped: how many lines before it were left out because the job
    wrote too many."""

    line: str
    level: Literal["debug", "info", "warning", "error"] = "info"
    dropped: int = 0


class Emitted(_Event, frozen=True, kw_only=True, omit_defaults=True, tag="output"):
    """A part of the result, before the result is complete: append `chunk` to the answer for input
    `index` of the job. tokens: of a language model with a cache, the ids since the last such event,
    with the one that ended the text. Another attempt goes on from them."""

    chunk: str
    index: int = 0
    finish_reason: Literal["stop", "length"] | None = None
    tokens: tuple[int, ...] = ()


class Checkpointed(_Event, frozen=True, kw_only=True, omit_defaults=True, tag="checkpoint"):
    """metrics: on held-out rows, if they were evaluated at this step. best: no earlier checkpoint
    did better by the run's headline metric. The store keeps the newest few checkpoints and the best
    one."""

    step: int
    artifact: ArtifactRef
    metrics: dict[str, float | None] = {}
    best: bool = False


class Produced(_Event, frozen=True, kw_only=True, omit_defaults=True, tag="artifact"):
    """A file that outlives the job. model: the reference of the model, if the file is one."""

    name: str
    artifact: ArtifactRef
    model: str | None = None


class Done(_Event, frozen=True, kw_only=True, omit_defaults=True, tag="done"):
    """The end of the job: always the last event, exactly once. digest: sha256 over what a replay
    must reproduce. facts: by name, what the result was made with, such as the device."""

    state: JobState
    reason: Reason
    result: msgspec.Raw = msgspec.field(default_factory=null)
    error: ErrorInfo | None = None
    digest: str | None = None
    facts: dict[str, str] = {}

    __repr__ = readable


class Gap(_Event, frozen=True, kw_only=True, omit_defaults=True, tag="gap"):
    """Made by a reader and never stored: events before `oldest` are no longer kept. requested: the
    number that the reader asked for."""

    requested: int
    oldest: int


JobEvent = StateChanged | Progressed | Measured | Logged | Emitted | Checkpointed | Produced | Done
StreamEvent = JobEvent | Gap
