"""What to send for each verb of the API and how to read the answer. Pure: nothing here touches a socket."""

import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, TypeVar
from urllib.parse import quote

import msgspec
from shared_schemas.codec import encode_json
from shared_schemas.ids import JobKind
from shared_schemas.job import Job, JobState
from shared_schemas.models import Model
from shared_schemas.replies import (
    DeadLetterDetails,
    DeadLetterPage,
    DeadLetterSelection,
    DeadLettersPurged,
    DeadLettersRetried,
    JobAttempts,
    JobDetails,
    JobPage,
    JobStatus,
    ModelPage,
    ModelVersions,
    Queues,
    Submitted,
    SubmittedJobs,
    Workers,
)
from shared_schemas.specs import InferenceSpec, TrainingSpec

from headrace.errors import InvalidJob, JobCancelled, JobFailed, ProtocolError, api_error

T = TypeVar("T")
Spec = TypeVar("Spec", TrainingSpec, InferenceSpec)


class Request(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """repeatable: doing it twice is the same as doing it once, so it may be sent again after a cut line."""

    method: str
    path: str
    decode: Callable[[bytes], T]
    params: tuple[tuple[str, str], ...] = ()
    headers: dict[str, str] = {}
    body: bytes | None = None
    repeatable: bool = True

    def read(self, status: int, headers: Mapping[str, str], body: bytes) -> T:
        """What the answer says. ApiError for a problem, ProtocolError for what is not Headrace's."""
        if not 200 <= status < 300:
            raise api_error(status, body, retry_after=headers.get("retry-after"))
        try:
            return self.decode(body)
        except msgspec.MsgspecError as error:
            raise ProtocolError(f"the answer to {self.method} {self.path} cannot be read: {error}") from None


_submitted = msgspec.json.Decoder(Submitted).decode
_submitted_jobs = msgspec.json.Decoder(SubmittedJobs).decode
_job = msgspec.json.Decoder(JobDetails).decode
_status = msgspec.json.Decoder(JobStatus).decode
_jobs = msgspec.json.Decoder(JobPage).decode
_model = msgspec.json.Decoder(Model).decode
_models = msgspec.json.Decoder(ModelPage).decode
_versions = msgspec.json.Decoder(ModelVersions).decode
_queues = msgspec.json.Decoder(Queues).decode
_workers = msgspec.json.Decoder(Workers).decode
_attempts = msgspec.json.Decoder(JobAttempts).decode
_dead_letters = msgspec.json.Decoder(DeadLetterPage).decode
_dead_letter = msgspec.json.Decoder(DeadLetterDetails).decode
_retried = msgspec.json.Decoder(DeadLettersRetried).decode
_purged = msgspec.json.Decoder(DeadLettersPurged).decode
_raw = msgspec.json.Decoder(msgspec.Raw).decode


def spec_of(kind: type[Spec], spec: Spec | None, fields: Mapping[str, Any]) -> Spec:
    """The spec itself, or one made of keywords. InvalidJob says which keyword is wrong."""
    if spec is not None:
        if fields:
            raise InvalidJob("give a spec or keywords, not both")
        return spec
    try:
        return msgspec.convert(fields, kind, from_attributes=True)
    except msgspec.ValidationError as error:
        raise InvalidJob(str(error)) from None


def submit(spec: TrainingSpec | InferenceSpec, *, idempotency_key: str | None) -> Request[Submitted]:
    """A key is made where none is given, so that a repeated request makes no second job."""
    kind = JobKind.TRAINING if isinstance(spec, TrainingSpec) else JobKind.INFERENCE
    return submit_body(kind, encode_json(spec), idempotency_key=idempotency_key)


def submit_list(
    specs: Sequence[TrainingSpec | InferenceSpec], *, idempotency_key: str | None
) -> Request[SubmittedJobs]:
    kinds = {JobKind.TRAINING if isinstance(spec, TrainingSpec) else JobKind.INFERENCE for spec in specs}
    if len(kinds) != 1:
        raise InvalidJob("a list has jobs of one kind, and at least one")
    one = submit_body(kinds.pop(), encode_json(specs), idempotency_key=idempotency_key)
    return Request(method=one.method, path=one.path, decode=_submitted_jobs, headers=one.headers, body=one.body)


def submit_body(kind: JobKind, body: bytes, *, idempotency_key: str | None) -> Request[Submitted]:
    headers = {"content-type": "application/json", "idempotency-key": idempotency_key or uuid.uuid4().hex}
    return Request(method="POST", path=f"/jobs/{kind.value}", decode=_submitted, headers=headers, body=body)


def job(job_id: str) -> Request[JobDetails]:
    return Request(method="GET", path=_of_job(job_id), decode=_job)


def status(job_id: str) -> Request[JobStatus]:
    return Request(method="GET", path=_of_job(job_id, "status"), decode=_status)


def cancel(job_id: str) -> Request[JobStatus]:
    return Request(method="POST", path=_of_job(job_id, "cancel"), decode=_status)


def pause(job_id: str) -> Request[JobStatus]:
    return Request(method="POST", path=_of_job(job_id, "pause"), decode=_status, repeatable=False)


def resume(job_id: str) -> Request[JobStatus]:
    return Request(method="POST", path=_of_job(job_id, "resume"), decode=_status, repeatable=False)


def retry(job_id: str) -> Request[Submitted]:
    return Request(method="POST", path=_of_job(job_id, "retry"), decode=_submitted, repeatable=False)


def replay(job_id: str) -> Request[Submitted]:
    return Request(method="POST", path=_of_job(job_id, "replay"), decode=_submitted, repeatable=False)


def list_jobs(
    *,
    kind: str | None = None,
    states: Sequence[JobState] = (),
    queue: str | None = None,
    tag: str | None = None,
    limit: int | None = None,
    cursor: str | None = None,
) -> Request[JobPage]:
    params = _params(kind=kind, queue=queue, tag=tag, limit=limit, cursor=cursor)
    return Request(
        method="GET", path="/jobs", decode=_jobs, params=(*params, *(("status", state.value) for state in states))
    )


def attempts(job_id: str) -> Request[JobAttempts]:
    return Request(method="GET", path=_of_job(job_id, "attempts"), decode=_attempts)


def dead_letters(
    *,
    queue: str | None = None,
    kind: str | None = None,
    code: str | None = None,
    limit: int | None = None,
    cursor: str | None = None,
) -> Request[DeadLetterPage]:
    params = _params(queue=queue, kind=kind, code=code, limit=limit, cursor=cursor)
    return Request(method="GET", path="/dead-letters", decode=_dead_letters, params=params)


def dead_letter(job_id: str) -> Request[DeadLetterDetails]:
    return Request(method="GET", path=f"/dead-letters/{_segment(job_id)}", decode=_dead_letter)


def retry_dead_letters(selection: DeadLetterSelection) -> Request[DeadLettersRetried]:
    return _of_dead_letters("retry", selection, _retried)


def purge_dead_letters(selection: DeadLetterSelection) -> Request[DeadLettersPurged]:
    return _of_dead_letters("purge", selection, _purged)


def selection_of(**fields: str | bool | int | None) -> DeadLetterSelection:
    """InvalidJob says which keyword is wrong."""
    given = {name: value for name, value in fields.items() if value is not None}
    try:
        return msgspec.convert(given, DeadLetterSelection)
    except msgspec.ValidationError as error:
        raise InvalidJob(str(error)) from None


def list_models(*, limit: int | None = None, cursor: str | None = None) -> Request[ModelPage]:
    return Request(method="GET", path="/models", decode=_models, params=_params(limit=limit, cursor=cursor))


def model(name: str) -> Request[ModelVersions]:
    return Request(method="GET", path=f"/models/{_segment(name)}", decode=_versions)


def set_alias(name: str, alias: str, version: int) -> Request[Model]:
    return Request(
        method="PUT",
        path=f"/models/{_segment(name)}/aliases/{_segment(alias)}",
        decode=_model,
        headers={"content-type": "application/json"},
        body=encode_json({"version": version}),
    )


def queues() -> Request[Queues]:
    return Request(method="GET", path="/queues", decode=_queues)


def workers() -> Request[Workers]:
    return Request(method="GET", path="/workers", decode=_workers)


def ready() -> Request[msgspec.Raw]:
    return Request(method="GET", path="/readyz", decode=_raw)


def events_path(job_id: str) -> str:
    return _of_job(job_id, "events")


def ended(job: Job) -> msgspec.Raw:
    """The result of a job that has ended. JobFailed or JobCancelled if it has none."""
    match job.state:
        case JobState.FAILED:
            raise JobFailed(job)
        case JobState.CANCELLED:
            raise JobCancelled(job)
        case _:
            return job.result


def _of_job(job_id: str, verb: str = "") -> str:
    return f"/jobs/{_segment(job_id)}" + (f"/{verb}" if verb else "")


def _of_dead_letters(verb: str, selection: DeadLetterSelection, decode: Callable[[bytes], T]) -> Request[T]:
    # Not repeatable: with a limit, a second request would take the next ones as well.
    return Request(
        method="POST",
        path=f"/dead-letters/{verb}",
        decode=decode,
        headers={"content-type": "application/json"},
        body=encode_json(selection),
        repeatable=False,
    )


def _segment(text: str) -> str:
    return quote(text, safe="@")


def _params(**values: str | int | None) -> tuple[tuple[str, str], ...]:
    return tuple((name, str(value)) for name, value in values.items() if value is not None)
