"""What Redis keeps of jobs and workers, as Structs. Pure: it is given the fields and asks for none."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec

from shared_schemas.codec import decode_event, decode_spec, encode_json
from shared_schemas.errors import ErrorInfo
from shared_schemas.events import Measured, Progressed
from shared_schemas.ids import JobId, QueueName, kind_of, kind_of_queue, queue_of
from shared_schemas.job import Job, JobState, JobSummary, Progress, WorkerStatus
from shared_schemas.lifecycle import moment
from shared_schemas.stream.claims import checkpoint_of

SUMMARY_FIELDS = (
    "state", "subject", "created", "attempt", "started", "finished", "progress", "error", "tags", "worker",
)  # fmt: skip


def worker_facts(
    *,
    host: str,
    pid: int,
    slots: int,
    started_at: datetime,
    state: str,
    jobs: Sequence[JobId],
    facts: dict[str, str],
) -> dict[str, str]:
    """The fields of a worker's registration, as Leases.renew writes them and Ledger.workers reads them."""
    return {
        "host": host,
        "pid": str(pid),
        "slots": str(slots),
        "started": str(round(started_at.timestamp() * 1000)),
        "state": state,
        "jobs": " ".join(jobs),
        "facts": encode_json(facts).decode(),
    }


def job_of(job_id: JobId, fields: dict[str, bytes]) -> Job:
    """The job as its hash has it."""

    def time_of(name: str) -> datetime | None:
        return moment(int(fields[name])) if name in fields else None

    def text(name: str) -> str | None:
        return fields[name].decode() if name in fields else None

    state = JobState(fields["state"].decode())
    spec = decode_spec(fields["spec"])
    replay_of, retry_of = text("replay_of"), text("retry_of")
    return Job(
        id=job_id,
        kind=kind_of(job_id),
        queue=queue_of(job_id),
        priority=spec.priority,
        spec=spec,
        state=state,
        created_at=moment(int(fields["created"])),
        attempt=int(fields["attempt"]),
        failures=int(fields["failures"]),
        crashes=int(fields["crashes"]),
        due_at=time_of("due") if state is JobState.SCHEDULED else None,
        started_at=time_of("started"),
        finished_at=time_of("finished"),
        worker=text("worker"),
        cancel_requested="cancel" in fields,
        pause_requested="pause" in fields,
        progress=_progress(fields.get("progress")),
        metrics=_metrics(fields),
        checkpoint=checkpoint_of(fields.get("checkpoint")),
        result=msgspec.Raw(fields.get("result", b"null")),
        error=msgspec.json.decode(fields["error"], type=ErrorInfo) if "error" in fields else None,
        digest=text("digest"),
        last_event=int(fields["n"]),
        replay_of=JobId(replay_of) if replay_of else None,
        retry_of=JobId(retry_of) if retry_of else None,
    )


def _progress(data: bytes | None) -> Progress | None:
    event = decode_event(data) if data else None
    if not isinstance(event, Progressed):
        return None
    return Progress(
        fraction=event.fraction,
        step=event.step,
        total=event.total,
        epoch=event.epoch,
        message=event.message,
    )


def _metrics(fields: dict[str, bytes]) -> dict[str, dict[str, float | None]]:
    events = (decode_event(value) for name, value in fields.items() if name.startswith("metric:"))
    return {event.split: event.values for event in events if isinstance(event, Measured)}


def summary_of(queue: QueueName, row: list[Any]) -> JobSummary:
    job_id = JobId(row[0].decode())
    fact = dict(zip(SUMMARY_FIELDS, row[1:], strict=True))
    progress = _progress(fact["progress"])
    return JobSummary(
        id=job_id,
        kind=kind_of(job_id),
        queue=queue,
        state=JobState(fact["state"].decode()),
        subject=fact["subject"].decode(),
        created_at=moment(int(fact["created"])),
        attempt=int(fact["attempt"]),
        started_at=moment(int(fact["started"])) if fact["started"] else None,
        finished_at=moment(int(fact["finished"])) if fact["finished"] else None,
        fraction=progress.fraction if progress else None,
        error=msgspec.json.decode(fact["error"], type=ErrorInfo) if fact["error"] else None,
        tags=tuple(fact["tags"].decode().split()),
        worker=fact["worker"].decode() if fact["worker"] else None,
    )


def worker_of(name: str, queue: QueueName, row: dict[str, str]) -> WorkerStatus:
    return WorkerStatus(
        name=name,
        queue=queue,
        kind=kind_of_queue(queue),
        host=row["host"],
        pid=int(row["pid"]),
        slots=int(row["slots"]),
        started_at=moment(int(row["started"])),
        seen_at=moment(int(row["seen"])),
        state=row["state"],
        jobs=tuple(JobId(job_id) for job_id in row["jobs"].split()),
        facts=msgspec.json.decode(row["facts"], type=dict[str, str]),
    )
