"""Holds what Redis keeps of a queue against the model: hashes, timelines, sorted sets, ready streams and their group.

Reads everything in one transaction, so that no answer is of another moment than the next.
"""

from collections.abc import Iterable
from typing import Any

import redis
from shared_schemas.codec import decode_event
from shared_schemas.events import Done, JobEvent, StateChanged
from shared_schemas.ids import JobId, QueueName
from shared_schemas.job import JobState
from shared_schemas.lifecycle import fold, submitted
from shared_schemas.stream import keys
from shared_schemas.stream.change_log import log_entries_in_stream
from shared_schemas.stream.keys import LANES
from shared_schemas.stream.stored_jobs import fields_of, job_of
from shared_schemas.stream.timeline import Entry

from tests.stream.model import QueueModel
from tests.stream.model_jobs import ModelJob
from tests.support.queue_bench import BAD
from tests.support.stored import entries_of

MANY = 10_000
# What a job can fail with here.
CODES = (BAD.code, "poison", "start_deadline_exceeded")


class Snapshot:
    """The raw replies of one moment, by name."""

    def __init__(
        self, client: "redis.Redis[bytes]", queue: QueueName, jobs: Iterable[JobId], workers: Iterable[str]
    ) -> None:
        tag, pipeline, names = keys.tag(queue), client.pipeline(transaction=True), list[tuple[str, ...]]()

        def ask(command: Any, *name: str) -> None:
            del command
            names.append(name)

        for job_id in jobs:
            ask(pipeline.hgetall(keys.job(job_id)), "hash", job_id)
            ask(pipeline.xrange(keys.events(job_id)), "events", job_id)
            ask(pipeline.exists(keys.gone(job_id)), "gone", job_id)
        for name in ("due", "waiting", "deadlines", "leases", "expiring", "dead", "workers"):
            ask(pipeline.zrange(f"{tag}{name}", 0, -1), "set", name)
        for lane in LANES:
            ask(pipeline.xrange(keys.ready(queue, lane)), "ready", lane)
            for state in JobState:
                ask(pipeline.zrange(keys.listing(queue, state, lane), 0, -1), "listing", state, lane)
        for code in CODES:
            ask(pipeline.zrange(f"{tag}dead:{code}", 0, -1), "set", f"dead:{code}")
        for worker in workers:
            ask(pipeline.exists(keys.worker(queue, worker)), "worker", worker)
        self._replies = dict(zip(names, pipeline.execute(), strict=True))
        self.log = client.xrange(keys.log(queue))

    def __getitem__(self, name: tuple[str, ...]) -> Any:
        return self._replies[name]

    def entries(self, job_id: str) -> list[Entry]:
        return entries_of(self["hash", job_id], self["events", job_id])

    def ids(self, *name: str) -> set[str]:
        return {member.decode() for member in self[name]}


def check(client: "redis.Redis[bytes]", queue: QueueName, model: QueueModel, workers: Iterable[str]) -> None:
    known = [*model.jobs, *model.gone]
    found = Snapshot(client, queue, known, workers)
    _check_lanes(client, queue, model, found)
    for job in model.jobs.values():
        _check_job(job, found)
    for job_id in model.gone:
        assert (found["hash", job_id], found["events", job_id], found["gone", job_id]) == ({}, [], 1)
    for name in ("due", "deadlines", "leases", "expiring", "waiting", "dead", "workers"):
        assert found.ids("set", name) == set(getattr(model, name)), name
    for code in CODES:
        assert found.ids("set", f"dead:{code}") == {job_id for job_id in model.dead if model.jobs[job_id].error == code}
    for lane in LANES:
        for state in JobState:
            expected = {job.id for job in model.jobs.values() if (job.state, job.lane) == (state, lane)}
            assert found.ids("listing", state, lane) == expected, (state, lane)
    model.registrations = {name: end for name, end in model.registrations.items() if end > model.now}
    assert {worker for worker in workers if found["worker", worker]} == set(model.registrations)
    _check_log(found, model)


def _check_job(job: ModelJob, found: Snapshot) -> None:
    fields, entries = fields_of(found["hash", job.id]), found.entries(job.id)
    events: list[JobEvent] = [decode_event(entry.data) for entry in entries]  # type: ignore[misc]
    kept = job_of(job.id, fields)
    folded = fold(submitted(job.id, kept.spec, replay_of=kept.replay_of, retry_of=kept.retry_of), events)
    assert folded == kept, "the timeline and the hash disagree"
    assert [(_sort(event), event.attempt) for event in events] == job.timeline
    assert [entry.n for entry in entries] == [*range(1, len(job.timeline) + 1)]
    assert {
        "state": kept.state, "attempt": kept.attempt, "failures": kept.failures, "crashes": kept.crashes,
        "worker": kept.worker, "cancel": kept.cancel_requested, "pause": kept.pause_requested,
        "error": kept.error.code if kept.error else None,
        "fence": _text(fields, "fence"), "settled": _text(fields, "settled"), "lane": _text(fields, "lane"),
        "recorded": int(fields.get("recorded", 0)), "beat": int(fields.get("beat", 0)),
        "waiting": "waiting" in fields, "due": "due" in fields, "retried_as": _text(fields, "retried_as"),
        "entry": _text(fields, "entry") if job.entry is None or job.entry.id is not None else None,
    } == {
        "state": job.state, "attempt": job.attempt, "failures": job.failures, "crashes": job.crashes,
        "worker": job.worker, "cancel": job.cancel, "pause": job.pause, "error": job.error,
        "fence": job.fence, "settled": job.settled, "lane": job.lane,
        "recorded": job.recorded, "beat": job.beat,
        "waiting": job.waiting, "due": job.due is not None, "retried_as": job.retried_as,
        "entry": job.entry.id if job.entry is not None else None,
    }  # fmt: skip
    assert sum(isinstance(event, Done) for event in events) == (1 if kept.state.is_terminal else 0)
    assert kept.state is not JobState.SCHEDULED or job.id in found.ids("set", "due") | found.ids("set", "waiting")
    assert isinstance(events[-1], Done) == kept.state.is_terminal


def _check_lanes(client: "redis.Redis[bytes]", queue: QueueName, model: QueueModel, found: Snapshot) -> None:
    for name, lane in model.lanes.by_name.items():
        entries = found["ready", name]
        assert [fields[b"job"].decode() for _, fields in entries] == [entry.job_id for entry in lane.entries], name
        for entry, (entry_id, _) in zip(lane.entries, entries, strict=True):
            entry.id = entry.id or entry_id.decode()
            assert entry.id == entry_id.decode()
        if lane.has_group:
            rows = client.xpending_range(keys.ready(queue, name), keys.GROUP, "-", "+", MANY)
            pending = {row["message_id"].decode(): row["consumer"].decode() for row in rows}
            live = {entry.id for entry in lane.entries}
            assert {entry: holder for entry, holder in pending.items() if entry in live} == {
                entry.id: holder for entry, holder in lane.alive().items()
            }, name


def _check_log(found: Snapshot, model: QueueModel) -> None:
    """The log of all jobs has each change of state once, a job's in the order of its timeline."""
    of_jobs: dict[str, list[bytes]] = {}
    for row in found.log:
        for change in log_entries_in_stream(*row):
            of_jobs.setdefault(change.job_id, []).append(change.data)
    for job_id in model.jobs:
        changes = [entry.data for entry in found.entries(job_id) if entry.event in ("state", "done")]
        assert of_jobs[job_id] == changes


def _sort(event: JobEvent) -> str:
    if isinstance(event, StateChanged | Done):
        return event.reason
    return str(event.__struct_config__.tag)


def _text(fields: dict[str, bytes], name: str) -> str | None:
    return fields[name].decode() if name in fields else None
