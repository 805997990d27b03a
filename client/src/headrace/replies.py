"""What the gateway answers, where it is not a Struct of the vocabulary. Fields it may add are ignored."""

from datetime import datetime

import msgspec
from shared_schemas.errors import ErrorInfo
from shared_schemas.ids import JobId
from shared_schemas.job import JobState, JobSummary, Progress, QueueStatus, WorkerStatus
from shared_schemas.models import Model


class Submitted(msgspec.Struct, frozen=True, kw_only=True):
    """urls: by name (self, status, events, result, …)."""

    job_id: JobId
    status: JobState
    urls: dict[str, str] = {}


class JobStatus(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """queue_position: jobs that are served before this one, None unless it is queued."""

    job_id: JobId
    status: JobState
    attempt: int = 0
    queue_position: int | None = None
    progress: Progress | None = None
    metrics: dict[str, dict[str, float | None]] = {}
    error: ErrorInfo | None = None
    cancel_requested: bool = False
    pause_requested: bool = False
    worker: str | None = None
    created_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    due_at: datetime | None = None


class JobPage(msgspec.Struct, frozen=True, kw_only=True):
    jobs: tuple[JobSummary, ...]
    next_cursor: str | None = None


class ModelPage(msgspec.Struct, frozen=True, kw_only=True):
    models: tuple[Model, ...]
    next_cursor: str | None = None


class ModelVersions(msgspec.Struct, frozen=True, kw_only=True):
    """versions: newest first."""

    versions: tuple[Model, ...]


class Queues(msgspec.Struct, frozen=True, kw_only=True):
    queues: tuple[QueueStatus, ...]


class Workers(msgspec.Struct, frozen=True, kw_only=True):
    workers: tuple[WorkerStatus, ...]
