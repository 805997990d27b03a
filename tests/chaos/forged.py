"""A correct history of a few jobs, made without running anything. Tests break it to test the
checker.

Its jobs: PLAIN succeeds at once. FLAKY fails once. LOST loses its worker. CALLED_OFF is cancelled,
and retried as AGAIN. TRAINED names an artifact. A follower receives all their events.
"""

import json
from collections.abc import Callable, Iterable

import msgspec
from shared_schemas.artifacts import ArtifactRef
from shared_schemas.codec import encode_json
from shared_schemas.errors import ErrorInfo
from shared_schemas.events import Done, Emitted, JobEvent, Produced, Reason, StateChanged
from shared_schemas.ids import JobId
from shared_schemas.job import Job, JobState
from shared_schemas.lifecycle import TRANSITIONS, fold, submitted
from shared_schemas.retry import RetryPolicy
from shared_schemas.specs import InferenceSpec

from tests.chaos.checker import sha_of
from tests.chaos.history import (
    Answered,
    Attempted,
    Dump,
    Entry,
    Faulted,
    Followed,
    Invoked,
    JobDump,
    Received,
    Sampled,
    nonces_in,
)

T0_MS = 1_764_000_000_000
PLAIN, FLAKY, LOST, CALLED_OFF, AGAIN, TRAINED = (
    JobId(f"inference-01kaaaaaaaaaaaaaaaaaaaaaa{letter}") for letter in "012345"
)
SHA = "ab" * 32


def nonce_of(job: str) -> str:
    """The nonce of the job's input. A retry has that of its original."""
    return f"nonce-{(CALLED_OFF if job == AGAIN else job)[-12:].replace('a', '0')}"


class Forged(msgspec.Struct):
    """A history to change, and then to check."""

    entries: list[Entry]
    dump: Dump

    def events(self, job: str) -> list[tuple[str, str]]:
        return list(self.dump.jobs[job].events)

    def set_events(self, job: str, events: Iterable[tuple[str, str]]) -> None:
        self.dump.jobs[job] = msgspec.structs.replace(self.dump.jobs[job], events=tuple(events))

    def rewrite(self, job: str, n: int, **changes: object) -> None:
        """Change fields of event n, counted from 1."""
        events = self.events(job)
        entry, data = events[n - 1]
        events[n - 1] = entry, json.dumps(json.loads(data) | changes)
        self.set_events(job, events)

    def append_event(self, job: str, **event: object) -> None:
        """Append an event, with the right number in all places."""
        events = self.events(job)
        n = len(events) + 1
        last = json.loads(events[-1][1])
        stamp = {"n": n, "at": last["at"] + 1, "attempt": last["attempt"]}
        self.set_events(job, [*events, (f"{n}-0", json.dumps(stamp | event))])
        self.dump.jobs[job].fields["n"] = str(n)

    def replace(self, kind: type[Entry], where: Callable[[Entry], bool], **changes: object) -> None:  # type: ignore[valid-type]
        """Change the first entry of this kind for which `where` is true."""
        i = next(i for i, entry in enumerate(self.entries) if isinstance(entry, kind) and where(entry))
        self.entries[i] = msgspec.structs.replace(self.entries[i], **changes)


SUBMITTED, CLAIMED, SUCCEEDED = (Reason.SUBMITTED, {}), (Reason.CLAIMED, {}), (Reason.SUCCEEDED, {})


def good() -> Forged:
    retried = (Reason.RETRY, {"delay_ms": 10})
    jobs = {
        PLAIN: _job(PLAIN, SUBMITTED, CLAIMED, "one", "two", SUCCEEDED),
        FLAKY: _job(FLAKY, SUBMITTED, CLAIMED, "one", retried, (Reason.DUE, {}), CLAIMED, "one", SUCCEEDED),
        LOST: _job(LOST, SUBMITTED, CLAIMED, "one", (Reason.WORKER_LOST, {}), CLAIMED, "one", SUCCEEDED),
        CALLED_OFF: _job(CALLED_OFF, SUBMITTED, (Reason.CANCELLED, {})),
        AGAIN: _job(AGAIN, SUBMITTED, CLAIMED, SUCCEEDED, retry_of=CALLED_OFF),
        TRAINED: _job(TRAINED, SUBMITTED, CLAIMED, SHA, SUCCEEDED),
    }
    listings: dict[str, tuple[str, ...]] = {}
    for job, found in jobs.items():
        name = f"{found.fields['state']}:{found.fields['lane']}"
        listings[name] = (*listings.get(name, ()), job)
    sets = dict.fromkeys(("leases", "due", "waiting", "deadlines"), ())
    streams = {"inference:normal": (0, 0)}
    dump = Dump(jobs=dict(jobs), listings=listings, sets=sets, streams=streams, artifacts={SHA: SHA})
    return Forged(_entries(dump), dump)


def _job(job_id: JobId, *steps: tuple[Reason, dict[str, object]] | str, retry_of: JobId | None = None) -> JobDump:
    """steps: each is (reason, more fields of its event), or SHA for an artifact, or the name of a
    part of the output."""
    nonce = nonce_of(job_id)
    spec = InferenceSpec(model_id="m@1", input_data={"nonce": nonce}, retry=RetryPolicy(max_attempts=3, backoff_s=0.1))
    events: list[JobEvent] = []
    attempt = 0
    for n, step in enumerate(steps, 1):
        attempt += step == (Reason.CLAIMED, {})
        stamp = {"n": n, "at": T0_MS + 100 * n, "attempt": attempt}
        events.append(_event(step, nonce, attempt, stamp))
    job = fold(submitted(job_id, spec, retry_of=retry_of), events)
    return JobDump(
        fields=_fields(job),
        events=tuple((f"{event.n}-0", _stamped(event)) for event in events),
    )


def _stamped(event: JobEvent) -> str:
    """The event as the scripts store it: with a full stamp, and without fields that have their
    default."""
    stamp = {"n": event.n, "at": event.at, "attempt": event.attempt}
    return json.dumps(stamp | json.loads(encode_json(event)), separators=(",", ":"))


def _event(step: tuple[Reason, dict[str, object]] | str, nonce: str, attempt: int, stamp: dict[str, int]) -> JobEvent:
    if step == SHA:
        return Produced(name="model", artifact=ArtifactRef(sha256=SHA, n_bytes=1), **stamp)
    if isinstance(step, str):
        return Emitted(chunk=f"{nonce} attempt={attempt} part={step}", **stamp)
    reason, more = step
    state = TRANSITIONS[reason].target
    if not state.is_terminal:
        if reason is Reason.RETRY:
            more = more | {"error": ErrorInfo(code="flaked", message=nonce, retryable=True)}
        return StateChanged(state=state, reason=reason, **stamp, **more)  # type: ignore[arg-type]
    if state is not JobState.SUCCEEDED:
        return Done(state=state, reason=reason, **stamp)
    result = {"nonce": nonce, "attempt": attempt, "fence": _fence(attempt)}
    return Done(state=state, reason=reason, result=msgspec.Raw(encode_json(result)), **stamp)


def _fence(attempt: int) -> str:
    return f"{attempt}-0123456789abcdef"


def _fields(job: Job) -> dict[str, str]:
    """The fields that the scripts would have written into the job's hash."""

    def ms(moment: object) -> str:
        return str(round(moment.timestamp() * 1000))  # type: ignore[attr-defined]

    fields = {
        "version": "1",
        "spec": encode_json(job.spec).decode(),
        "lane": "normal",
        "state": job.state.value,
        "created": ms(job.created_at),
        "attempt": str(job.attempt),
        "failures": str(job.failures),
        "crashes": str(job.crashes),
        "n": str(job.last_event),
    }
    if job.started_at is not None:
        fields |= {"started": ms(job.started_at), "settled": _fence(job.attempt)}
    if job.finished_at is not None:
        fields["finished"] = ms(job.finished_at)
    if bytes(job.result) != b"null":
        fields["result"] = bytes(job.result).decode()
    return fields | ({"retry_of": job.retry_of} if job.retry_of else {})


def _entries(dump: Dump) -> list[Entry]:
    """Entries of clients that submit, follow and ask, of workers, and of one fault."""
    entries: list[Entry] = [
        Sampled(process="worker-0", role="worker", fds=12, threads=3, rss_mib=50.0, cpu=0.0, base=True),
        Faulted(kind="worker killed", target="worker-1"),
    ]
    for op, job in enumerate(dump.jobs, 1):
        nonce, is_retry = nonce_of(job), job == AGAIN
        verb, key = ("retry", "") if is_retry else ("submit", f"key-{nonce}")
        entries.append(Invoked(op=op, verb=verb, nonce=nonce, key=key, job=CALLED_OFF if is_retry else ""))
        entries.append(Answered(op=op, outcome="ok", status=202, job=job, state="queued", nonces=(nonce,)))
    for job, found in dump.jobs.items():
        for attempt in range(1, int(found.fields["attempt"]) + 1):
            for what in ("begin", "effect", "end"):
                entries.append(
                    Attempted(
                        worker=f"worker-{attempt}",
                        job=job,
                        attempt=attempt,
                        fence=_fence(attempt),
                        what=what,
                        nonce=nonce_of(job),
                    )
                )
        for n, (_, data) in enumerate(found.events, 1):
            event = json.loads(data)["event"]
            entries.append(Received(follower="f1", job=job, n=n, event=event, sha=sha_of(data), nonces=nonces_in(data)))
        entries.append(Followed(follower="f1", job=job))
    for op, (job, found) in enumerate(dump.jobs.items(), 101):
        entries.append(Invoked(op=op, verb="status", nonce=nonce_of(job), job=job))
        entries.append(Answered(op=op, outcome="ok", status=200, state=found.fields["state"], nonces=(nonce_of(job),)))
    entries.append(Sampled(process="worker-0", role="worker", fds=14, threads=3, rss_mib=55.0, cpu=0.01))
    return [
        msgspec.structs.replace(entry, at=float(i + 1), wall=T0_MS / 1000 + i / 10) for i, entry in enumerate(entries)
    ]
