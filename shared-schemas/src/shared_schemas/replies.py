"""The answers of the gateway, as far as no other module has them as one Struct. Client and OpenAPI
use the same Structs.

Knows no transport.
"""

from datetime import datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from shared_schemas.attempts import AttemptSummary
from shared_schemas.capabilities import RecipeInfo
from shared_schemas.errors import ErrorInfo
from shared_schemas.ids import JobId
from shared_schemas.job import Job, JobState, JobSummary, Progress, QueueStatus, WorkerStatus
from shared_schemas.kinds import JobKind
from shared_schemas.models import Model
from shared_schemas.numbers import LARGEST
from shared_schemas.raw import null, readable


class Submitted(msgspec.Struct, frozen=True, kw_only=True):
    """A job was accepted. urls: paths by name (self, status, events, result, cancel)."""

    job_id: JobId
    status: JobState
    urls: dict[str, str] = {}


class SubmittedJobs(msgspec.Struct, frozen=True, kw_only=True):
    """A list of jobs was accepted, in its order."""

    jobs: tuple[Submitted, ...]


class ReplayOf(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """of: the job that this job runs again. identical: whether the results agree; null while this
    job has not ended, and if the other job has no result or is gone. differs: if the results do not
    agree, the names of the facts that differ (device, threads, processor, a library, data, …);
    `state` if this job ended in another state; `unknown` if all facts are the same; empty if one of
    the jobs has no facts, as in an older version."""

    of: JobId
    identical: bool | None
    differs: tuple[str, ...] = ()


class JobDetails(Job, frozen=True, kw_only=True, omit_defaults=True):
    """All about a job. job_id, status: the same as id and state, by the names of all other
    answers. queue_position, the estimates and cached_from: see JobStatus."""

    job_id: JobId
    status: JobState
    queue_position: int | None = None
    eta_s: float | None = None
    estimated_start_at: datetime | None = None
    estimated_end_at: datetime | None = None
    cached_from: JobId | None = None
    urls: dict[str, str] = {}
    replay: ReplayOf | None = None


class JobStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The state of a job. queue_position: how many jobs are served before this one; workers: how
    many serve its queue; both are null unless it is queued. waits_for: jobs that must still succeed
    before a scheduled one may run. result: what it returned, null until it has succeeded.
    cached_from: the job that made the result, null unless the result came from the cache."""

    job_id: JobId
    kind: JobKind
    status: JobState
    attempt: int = 0
    queue_position: int | None = None
    workers: int | None = None
    eta_s: float | None = None
    estimated_start_at: datetime | None = None
    estimated_end_at: datetime | None = None
    waits_for: tuple[JobId, ...] = ()
    progress: Progress | None = None
    progress_at: datetime | None = None
    metrics: dict[str, dict[str, float | None]] = {}
    error: ErrorInfo | None = None
    result: msgspec.Raw = msgspec.field(default_factory=null)
    cached_from: JobId | None = None
    cancel_requested: bool = False
    pause_requested: bool = False
    worker: str | None = None
    last_event: int = 0
    created_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    due_at: datetime | None = None
    replay: ReplayOf | None = None
    urls: dict[str, str] = {}

    __repr__ = readable


class JobResult(msgspec.Struct, frozen=True, kw_only=True):
    """How a finished job ended. cached_from: see JobStatus."""

    job_id: JobId
    status: JobState
    result: msgspec.Raw = msgspec.field(default_factory=null)
    cached_from: JobId | None = None
    error: ErrorInfo | None = None


class JobPage(msgspec.Struct, frozen=True, kw_only=True):
    """Newest first. next_cursor: pass it as `cursor` for the next page, null at the end."""

    jobs: tuple[JobSummary, ...]
    next_cursor: str | None = None


class JobAttempts(msgspec.Struct, frozen=True, kw_only=True):
    """attempts: the newest 100, oldest first."""

    job_id: JobId
    attempts: tuple[AttemptSummary, ...]


class DeadLetter(JobSummary, frozen=True, kw_only=True, omit_defaults=True):
    """A job that failed and was neither retried nor purged. error: why it failed. attempts: the
    newest 100, oldest first; empty if it failed before an attempt began."""

    attempts: tuple[AttemptSummary, ...]


class DeadLetterPage(msgspec.Struct, frozen=True, kw_only=True):
    """As JobPage. Every page but the last is full."""

    jobs: tuple[DeadLetter, ...]
    next_cursor: str | None = None


class DeadLetterDetails(JobDetails, frozen=True, kw_only=True, omit_defaults=True):
    """All about a dead letter."""

    attempts: tuple[AttemptSummary, ...]


class DeadLetterSelection(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """Which dead letters: those that match every given filter. Without a filter, `all` must be
    true.

    code: of the error. limit: at most so many, the newest. cursor: the next_cursor of the answer
    before.
    """

    queue: Annotated[str, Meta(max_length=64)] | None = None
    kind: JobKind | None = None
    code: Annotated[str, Meta(max_length=64)] | None = None
    all: bool = False
    limit: Annotated[int, Meta(ge=1, le=1000)] = 1000
    cursor: Annotated[str, Meta(max_length=128)] | None = None


class RetriedJob(msgspec.Struct, frozen=True, kw_only=True):
    """retried_as: the new job. If it is null, `error` says why, and the job is still a dead
    letter."""

    job_id: JobId
    retried_as: JobId | None = None
    error: ErrorInfo | None = None


class DeadLettersRetried(msgspec.Struct, frozen=True, kw_only=True):
    """jobs: newest first. next_cursor: pass it as `cursor` to retry the rest; null if there is
    none."""

    jobs: tuple[RetriedJob, ...]
    next_cursor: str | None = None


class DeadLettersPurged(msgspec.Struct, frozen=True, kw_only=True):
    """job_ids: no longer dead letters, newest first; the jobs stay failed. next_cursor: pass it as
    `cursor` to purge the rest; null if there is none."""

    job_ids: tuple[JobId, ...]
    next_cursor: str | None = None


class EventPage(msgspec.Struct, frozen=True, kw_only=True):
    """next_after: pass it as `after` for the next page. done: there will be no more events."""

    events: tuple[msgspec.Raw, ...]
    next_after: str
    done: bool


class StoredFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file of the artifact store. n_bytes: how much of it is there. An upload goes on from that
    byte until is_complete."""

    sha256: str
    n_bytes: int
    is_complete: bool


class ModelPage(msgspec.Struct, frozen=True, kw_only=True):
    models: tuple[Model, ...]
    next_cursor: str | None = None


class ModelVersions(msgspec.Struct, frozen=True, kw_only=True):
    """versions: newest first."""

    versions: tuple[Model, ...]


class AliasRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """warm: whether the workers that hold another version load this one before the alias moves."""

    version: Annotated[int, Meta(ge=1, le=LARGEST)]
    warm: bool = True


class Queues(msgspec.Struct, frozen=True, kw_only=True):
    queues: tuple[QueueStatus, ...]


class RecipeList(msgspec.Struct, frozen=True, kw_only=True):
    recipes: tuple[RecipeInfo, ...]


class Workers(msgspec.Struct, frozen=True, kw_only=True):
    workers: tuple[WorkerStatus, ...]


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """faults: why the gateway cannot serve, one sentence each. warnings: known bugs of this version
    of Redis, and a password file that others can read, one sentence each."""

    status: Literal["ok", "unavailable"]
    faults: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


class ProblemItem(msgspec.Struct, frozen=True, kw_only=True):
    """pointer: JSON pointer (RFC 6901) into the body, or the name of the header or query parameter."""

    pointer: str
    code: str
    detail: str


class Problem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """RFC 9457. code: never changes. request_id: also in the logs."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    code: str
    request_id: str
    errors: tuple[ProblemItem, ...] = ()
