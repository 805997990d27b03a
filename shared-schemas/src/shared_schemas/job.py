"""A job, a queue and a worker, as the API shows them. Knows neither Redis nor HTTP."""

from datetime import datetime
from enum import StrEnum
from typing import Literal

import msgspec

from shared_schemas.artifacts import ArtifactRef
from shared_schemas.errors import ErrorInfo
from shared_schemas.ids import JobId, QueueName
from shared_schemas.kinds import JobKind
from shared_schemas.raw import null, readable
from shared_schemas.specs import JobSpec, Priority

# The fact of a result that names the job from which it was taken.
CACHED_FROM = "cached_from"


class JobState(StrEnum):
    """scheduled: waits for a time, a back-off or another job. queued: waits for a worker. running:
    a worker has claimed it. paused: waits for a person. The other three are terminal: they never
    change."""

    SCHEDULED = "scheduled"
    QUEUED = "queued"
    RUNNING = "running"
    PAUSED = "paused"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_terminal(self) -> bool:
        return self in TERMINAL_STATES


TERMINAL_STATES = frozenset({JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED})


class Progress(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    fraction: float
    step: int | None = None
    total: int | None = None
    epoch: int | None = None
    message: str | None = None


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True):
    step: int
    artifact: ArtifactRef


class Job(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A job and its state: the fold of its timeline over lifecycle.submitted.

    attempt: attempts begun. failures: attempts that failed; crashes: attempts whose worker was
    lost. due_at: when a scheduled job becomes due. started_at: begin of the newest attempt. worker:
    which runs the job. progress_at: when the newest progress was recorded. metrics: the latest
    values by split. last_event: number of the newest event. digest, facts: see events.Done.
    """

    id: JobId
    kind: JobKind
    queue: QueueName
    priority: Priority
    spec: JobSpec
    state: JobState
    created_at: datetime
    attempt: int = 0
    failures: int = 0
    crashes: int = 0
    due_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    worker: str | None = None
    cancel_requested: bool = False
    pause_requested: bool = False
    progress: Progress | None = None
    progress_at: datetime | None = None
    metrics: dict[str, dict[str, float | None]] = {}
    checkpoint: Checkpoint | None = None
    result: msgspec.Raw = msgspec.field(default_factory=null)
    error: ErrorInfo | None = None
    digest: str | None = None
    facts: dict[str, str] = {}
    last_event: int = 0
    replay_of: JobId | None = None
    retry_of: JobId | None = None

    __repr__ = readable


class JobSummary(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One row of a listing. subject: the model_type that is trained or the model_id that is run."""

    id: JobId
    kind: JobKind
    queue: QueueName
    state: JobState
    subject: str
    created_at: datetime
    attempt: int = 0
    started_at: datetime | None = None
    finished_at: datetime | None = None
    fraction: float | None = None
    error: ErrorInfo | None = None
    tags: tuple[str, ...] = ()
    worker: str | None = None


class QueueStatus(msgspec.Struct, frozen=True, kw_only=True):
    """jobs: how many are in each state. ready: queued jobs by lane. oldest_queued_at: submission of
    the oldest queued job. workers: how many are registered. log_from: the time of the oldest change
    of state in the log, which `GET /events` reads. drain_per_s: attempts that end in a second while
    no slot of the workers is free, as last measured; null before the first end."""

    name: QueueName
    kind: JobKind
    jobs: dict[str, int]
    ready: dict[str, int]
    dead: int
    workers: int
    drain_per_s: float | None = None
    oldest_queued_at: datetime | None = None
    log_from: datetime | None = None


class DeviceUse(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker runs its jobs on, and how much memory is in use.

    name: cpu, or cuda:N as HEADRACE_DEVICE names it, counted within the process. hardware: the
    model of the processor or the GPU. uuid: of a GPU, the same for all processes. memory_bytes: of
    the device; of the CPU, that of the machine, or the limit of the container. used_bytes: what all
    processes use of it; null if the driver does not tell. rss_bytes: the memory of the machine that
    the worker and its child processes use."""

    name: str
    hardware: str
    memory_bytes: int
    rss_bytes: int
    used_bytes: int | None = None
    uuid: str | None = None


class HeldModel(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A version of a model at a worker. state: `failed` if it was to be loaded for a switch and could not be. n_bytes:
    of its file. code: of the error. switch: which of them wanted it."""

    model: str
    state: Literal["loading", "ready", "failed"]
    n_bytes: int = 0
    is_pinned: bool = False
    code: str | None = None
    switch: str | None = None


class WorkerStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A registered worker. seen_at: its last renewal. jobs: what it runs now. facts: device,
    versions; `gpu_unused` is why a GPU that is there is not used. device: as of the last renewal. gpu_shared_with: the
    names of other registered workers on the same GPU. models: of an inference worker, the one that was used last comes
    last. None for what its registration does not contain."""

    name: str
    queue: QueueName
    kind: JobKind
    host: str | None = None
    pid: int | None = None
    slots: int | None = None
    started_at: datetime | None = None
    seen_at: datetime | None = None
    state: str | None = None
    jobs: tuple[JobId, ...] = ()
    facts: dict[str, str] = {}
    device: DeviceUse | None = None
    gpu_shared_with: tuple[str, ...] = ()
    models: tuple[HeldModel, ...] | None = None
