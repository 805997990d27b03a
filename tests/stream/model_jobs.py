"""The jobs of a queue and its sorted sets, for the model: the stored job, and its changes of state.

Every change is a row of lifecycle.TRANSITIONS. It knows no script and reads neither Redis nor a clock.
"""

from dataclasses import dataclass, field

from shared_schemas.events import Reason
from shared_schemas.ids import JobId
from shared_schemas.job import JobState
from shared_schemas.lifecycle import TRANSITIONS
from shared_schemas.stream.keys import Lane

from tests.stream.model_lanes import Entry, Lanes


@dataclass
class ModelJob:
    """timeline: its events so far, as (reason or kind of event, attempt)."""

    id: JobId
    home: Lane
    lane: Lane
    ttl: float
    state: JobState | None = None
    entry: Entry | None = None
    attempt: int = 0
    failures: int = 0
    crashes: int = 0
    recorded: int = 0
    beat: int = 0
    fence: str | None = None
    worker: str | None = None
    settled: str | None = None
    cancel: bool = False
    pause: bool = False
    waiting: bool = False
    suspect: bool = False
    alone: bool = False
    due: float | None = None
    deadline: float | None = None
    error: str | None = None
    depends_on: tuple[JobId, ...] = ()
    retried_as: JobId | None = None
    timeline: list[tuple[str, int]] = field(default_factory=list)

    def allows(self, reason: Reason) -> bool:
        return self.state in TRANSITIONS[reason].sources


class JobBook:
    """jobs, and each sorted set by its name. lease: in the seconds of `now`, as all spans."""

    def __init__(self, *, lease: float) -> None:
        self.now, self.lease, self.lanes = 0.0, lease, Lanes()
        self.jobs: dict[JobId, ModelJob] = {}
        self.gone: set[JobId] = set()
        self.keys: dict[str, tuple[JobId, str]] = {}
        self.due: dict[JobId, float] = {}
        self.deadlines: dict[JobId, float] = {}
        self.leases: dict[JobId, float] = {}
        self.expiring: dict[JobId, float] = {}
        self.waiting: set[JobId] = set()
        self.dead: set[JobId] = set()
        # Registrations: until when, and whether the worker's own hash is there still.
        self.workers: dict[str, float] = {}
        self.registrations: dict[str, float] = {}

    def job_at(self, n: int) -> ModelJob:
        """Counted from the newest."""
        return list(self.jobs.values())[-1 - n % len(self.jobs)]

    def claim_key(self, key: str, job_id: JobId, fingerprint: str) -> tuple[str, JobId]:
        """Of a job of another queue: what the Idempotency-Key stands for, from now on if it stood for nothing."""
        if key not in self.keys:
            self.keys[key] = (job_id, fingerprint)
            return "claimed", job_id
        known, meant = self.keys[key]
        return ("known" if meant == fingerprint else "conflict"), known

    # Each change of state is one of these four: enqueue, schedule, pause_job, finish.

    def append_change(self, job: ModelJob, reason: Reason) -> None:
        assert job.state is None or job.allows(reason), f"{job.state} cannot be {reason}"
        job.state = TRANSITIONS[reason].target
        job.timeline.append((reason, job.attempt))

    def enqueue(self, job: ModelJob, lane: Lane, reason: Reason) -> None:
        self.append_change(job, reason)
        job.lane, job.due = Lane.ALONE if job.suspect else lane, None
        job.entry = self.lanes.add(job.lane, job.id)

    def schedule(self, job: ModelJob, due: float | None, reason: Reason) -> None:
        self.append_change(job, reason)
        job.due = due
        if due is not None:
            self.due[job.id] = due

    def pause_job(self, job: ModelJob) -> None:
        self.append_change(job, Reason.PAUSED)
        self.due.pop(job.id, None)

    def finish(self, job: ModelJob, reason: Reason, error: str | None = None) -> None:
        self.append_change(job, reason)
        for names in (self.due, self.deadlines):
            names.pop(job.id, None)
        self.waiting.discard(job.id)
        job.due, job.waiting, job.error, job.entry = None, False, error, None
        if job.state is JobState.FAILED:
            self.dead.add(job.id)
        self.expiring[job.id] = self.now + job.ttl

    def let_go(self, job: ModelJob) -> bool:
        """-> whether a pause was requested."""
        was_asked = job.pause
        self.leases.pop(job.id, None)
        job.fence, job.worker, job.pause = None, None, False
        return was_asked

    def apply_requests(self, job: ModelJob, *, pause: bool) -> None:
        if job.cancel:
            self.finish(job, Reason.CANCELLED)
        elif pause:
            self.pause_job(job)

    def hand_back(self, job: ModelJob) -> None:
        self.lanes.retire(job.entry)
        job.lane = Lane.ALONE if job.suspect else Lane.FRONT
        job.entry = self.lanes.add(job.lane, job.id)
