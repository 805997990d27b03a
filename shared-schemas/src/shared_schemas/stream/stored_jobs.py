"""Stored jobs as Structs. Pure: it is given what Redis keeps, and reads nothing itself."""

from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any

import msgspec

from shared_schemas.codec import decode_event, decode_spec
from shared_schemas.errors import ErrorInfo
from shared_schemas.events import Checkpointed, Measured, Progressed
from shared_schemas.ids import JobId, QueueName, created_ms, kind_of, queue_of
from shared_schemas.job import Checkpoint, Job, JobState, JobSummary, Progress
from shared_schemas.lifecycle import from_ms
from shared_schemas.stream.packed_job import UNREADABLE, parts_as_text

JOB_UNREADABLE = ErrorInfo(
    code="job_unreadable", message="the job was written by another version of Headrace, or is damaged"
)
SUMMARY_FIELDS = ("job", "progress", "error")


def fields_of(stored: Mapping[bytes, bytes]) -> dict[str, bytes]:
    """The fields of a job's hash, with the parts in its field `job` as fields of their own."""
    fields = {name.decode(errors="replace"): value for name, value in stored.items()}
    return fields | {name: value.encode() for name, value in parts_as_text(fields.pop("job", None)).items()}


def job_of(job_id: JobId, fields: dict[str, bytes]) -> Job:
    """fields: from fields_of. Raises any of UNREADABLE."""

    def time_of(name: str) -> datetime | None:
        return from_ms(int(fields[name])) if name in fields else None

    def text(name: str) -> str | None:
        return fields[name].decode() if name in fields else None

    state, progressed = JobState(fields["state"].decode()), _progressed(fields.get("progress"))
    spec = decode_spec(fields["spec"])
    replay_of, retry_of = text("replay_of"), text("retry_of")
    return Job(
        id=job_id,
        kind=kind_of(job_id),
        queue=queue_of(job_id),
        priority=spec.priority,
        spec=spec,
        state=state,
        created_at=from_ms(int(fields["created"])),
        attempt=int(fields["attempt"]),
        failures=int(fields["failures"]),
        crashes=int(fields["crashes"]),
        due_at=time_of("due") if state is JobState.SCHEDULED else None,
        started_at=time_of("started"),
        finished_at=time_of("finished"),
        worker=text("worker"),
        cancel_requested="cancel" in fields,
        pause_requested="pause" in fields,
        progress=_progress(progressed),
        progress_at=from_ms(progressed.at) if progressed else None,
        metrics=_metrics(fields),
        checkpoint=checkpoint_of(fields.get("checkpoint")),
        result=msgspec.Raw(fields.get("result", b"null")),
        error=msgspec.json.decode(fields["error"], type=ErrorInfo) if "error" in fields else None,
        digest=text("digest"),
        facts=msgspec.json.decode(fields["facts"], type=dict[str, str]) if "facts" in fields else {},
        last_event=int(fields["n"]),
        replay_of=JobId(replay_of) if replay_of else None,
        retry_of=JobId(retry_of) if retry_of else None,
    )


def _progressed(data: bytes | None) -> Progressed | None:
    """None also if it cannot be read. The next progress event replaces it."""
    try:
        event = decode_event(data) if data else None
    except UNREADABLE:
        event = None
    return event if isinstance(event, Progressed) else None


def _progress(event: Progressed | None) -> Progress | None:
    if event is None:
        return None
    return Progress(
        fraction=event.fraction,
        step=event.step,
        total=event.total,
        epoch=event.epoch,
        message=event.message,
    )


def _metrics(fields: dict[str, bytes]) -> dict[str, dict[str, float | None]]:
    events = []
    for name, value in fields.items():
        if name.startswith("metric:"):
            with suppress(*UNREADABLE):
                events.append(decode_event(value))
    return {event.split: event.values for event in events if isinstance(event, Measured)}


def summary_of(queue: QueueName, row: list[Any]) -> JobSummary:
    """row: of the answer of list.lua. For a job that cannot be read, the summary has only what its
    id and its listing contain, and the error `job_unreadable`."""
    try:
        return _summary_of(queue, row)
    except UNREADABLE:
        job_id = JobId(row[0].decode())
        return JobSummary(
            id=job_id,
            kind=kind_of(job_id),
            queue=queue,
            state=JobState(row[-1].decode()),
            subject="",
            created_at=from_ms(created_ms(job_id)),
            error=JOB_UNREADABLE,
        )


def _summary_of(queue: QueueName, row: list[Any]) -> JobSummary:
    job_id = JobId(row[0].decode())
    packed, progress_data, error = row[1:-1]
    fact, progress = parts_as_text(packed), _progress(_progressed(progress_data))
    return JobSummary(
        id=job_id,
        kind=kind_of(job_id),
        queue=queue,
        state=JobState(fact["state"]),
        subject=fact.get("subject", ""),
        created_at=from_ms(int(fact["created"])),
        attempt=int(fact["attempt"]),
        started_at=from_ms(int(fact["started"])) if "started" in fact else None,
        finished_at=from_ms(int(fact["finished"])) if "finished" in fact else None,
        fraction=progress.fraction if progress else None,
        error=msgspec.json.decode(error, type=ErrorInfo) if error else None,
        tags=tuple(fact.get("tags", "").split()),
        worker=fact.get("worker"),
    )


def checkpoint_of(data: bytes | None) -> Checkpoint | None:
    """None also if it cannot be read: the job then begins from the start."""
    try:
        event = decode_event(data) if data else None
    except UNREADABLE:
        event = None
    return Checkpoint(step=event.step, artifact=event.artifact) if isinstance(event, Checkpointed) else None
