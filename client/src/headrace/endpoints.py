"""The endpoints of the API: what to send to each, and how to read the response.
Pure: opens no socket."""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Generic, TypeVar
from urllib.parse import quote, urlencode
from uuid import UUID

import msgspec
from shared_schemas.artifacts import ArtifactRef
from shared_schemas.codec import encode_json
from shared_schemas.job import Job, JobState
from shared_schemas.kinds import JobKind
from shared_schemas.replies import (
    DeadLetterSelection,
    DeadLettersPurged,
    DeadLettersRetried,
    JobAttempts,
    Queues,
    RecipeList,
    StoredFile,
    Submitted,
    SubmittedJobs,
    Workers,
)
from shared_schemas.specs import JobOptions, JobSpec

from headrace.answers import (
    DeadLetter,
    DeadLetterDetails,
    DeadLetterPage,
    JobDetails,
    JobPage,
    JobStatus,
    JobSummary,
    Model,
    ModelPage,
    ModelVersions,
)
from headrace.checking import checked, id_of, kind_of, one_of, spec_of
from headrace.errors import InvalidJob, JobCancelled, JobFailed, ProtocolError, api_error

T = TypeVar("T")


class Request(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """repeatable: sending it twice has the effect of sending it once, so it may be sent again
    after a lost connection."""

    method: str
    path: str
    decode: Callable[[bytes], T]
    params: tuple[tuple[str, str], ...] = ()
    headers: dict[str, str] = {}
    body: bytes | None = None
    repeatable: bool = True

    def target(self) -> str:
        return self.path + (f"?{urlencode(self.params)}" if self.params else "")

    def read(self, status: int, headers: Mapping[str, str], body: bytes) -> T:
        """Decode a response. ApiError for a problem, ProtocolError if it does
        not come from Headrace."""
        if not 200 <= status < 300:
            raise api_error(status, body, retry_after=headers.get("retry-after"))
        try:
            return self.decode(body)
        except msgspec.MsgspecError as error:
            raise ProtocolError(f"the answer to {self.method} {self.path} cannot be read: {error}") from None


class Page(msgspec.Struct, Generic[T], frozen=True):
    """Rows of a listing, and the `cursor` of the next page; None at the end."""

    rows: Sequence[T]
    next_cursor: str | None


_submitted = msgspec.json.Decoder(Submitted).decode
_submitted_jobs = msgspec.json.Decoder(SubmittedJobs).decode
_job = msgspec.json.Decoder(JobDetails).decode
_status = msgspec.json.Decoder(JobStatus).decode
_decode_jobs = msgspec.json.Decoder(JobPage).decode
_model = msgspec.json.Decoder(Model).decode
_decode_models = msgspec.json.Decoder(ModelPage).decode
_versions = msgspec.json.Decoder(ModelVersions).decode
_stored = msgspec.json.Decoder(StoredFile).decode
_queues = msgspec.json.Decoder(Queues).decode
_workers = msgspec.json.Decoder(Workers).decode
_recipes = msgspec.json.Decoder(RecipeList).decode
_attempts = msgspec.json.Decoder(JobAttempts).decode
_decode_dead_letters = msgspec.json.Decoder(DeadLetterPage).decode
_dead_letter = msgspec.json.Decoder(DeadLetterDetails).decode
_retried = msgspec.json.Decoder(DeadLettersRetried).decode
_purged = msgspec.json.Decoder(DeadLettersPurged).decode
_raw = msgspec.json.Decoder(msgspec.Raw).decode


def _jobs(body: bytes) -> Page[JobSummary]:
    page = _decode_jobs(body)
    return Page(page.jobs, page.next_cursor)


def _dead_letters(body: bytes) -> Page[DeadLetter]:
    page = _decode_dead_letters(body)
    return Page(page.jobs, page.next_cursor)


def _models(body: bytes) -> Page[Model]:
    page = _decode_models(body)
    return Page(page.models, page.next_cursor)


def submit(
    kind: JobKind | str,
    spec: JobSpec | Mapping[str, Any] | None,
    fields: Mapping[str, Any],
    *,
    idempotency_key: str | UUID | None,
) -> Request[Submitted]:
    """Takes a spec or its fields. Makes an idempotency key if none is given, so that a repeated
    request makes no second job."""
    kind = one_of(JobKind, kind, "kind")
    return submit_body(kind, encode_json(spec_of(kind, spec, fields)), idempotency_key=idempotency_key)


def submit_list(
    jobs: Iterable[JobSpec | Mapping[str, Any]], *, idempotency_key: str | UUID | None
) -> Request[SubmittedJobs]:
    """InvalidJob names the first wrong job by its place, `jobs[3]`."""
    if isinstance(jobs, str | bytes | Mapping | JobOptions):
        raise InvalidJob("give a list of jobs, each a spec or a mapping with its fields")
    given = list(jobs)
    kinds = [kind_of(job, f"jobs[{i}]") for i, job in enumerate(given)]
    if len(set(kinds)) != 1:
        raise InvalidJob("a list has jobs of one kind, and at least one")
    specs = [checked(kinds[0], job, place=f"jobs[{i}].") for i, job in enumerate(given)]
    one = submit_body(kinds[0], encode_json(specs), idempotency_key=idempotency_key)
    return Request(method=one.method, path=one.path, decode=_submitted_jobs, headers=one.headers, body=one.body)


def submit_body(kind: JobKind | str, body: bytes, *, idempotency_key: str | UUID | None) -> Request[Submitted]:
    kind = one_of(JobKind, kind, "kind")
    headers = {"content-type": "application/json", **key_header(idempotency_key)}
    return Request(method="POST", path=f"/jobs/{kind.value}", decode=_submitted, headers=headers, body=body)


def key_header(idempotency_key: str | UUID | None) -> dict[str, str]:
    """A new key if none is given. InvalidJob."""
    if isinstance(idempotency_key, UUID):
        idempotency_key = str(idempotency_key)
    if idempotency_key is not None:
        is_text = isinstance(idempotency_key, str)
        if not is_text or not (idempotency_key.isascii() and idempotency_key.isprintable()):
            raise InvalidJob("an idempotency key is a text of printable ASCII characters")
    return {"idempotency-key": idempotency_key or os.urandom(16).hex()}


def job(job_id: str) -> Request[JobDetails]:
    return Request(method="GET", path=_job_path(job_id), decode=_job)


def status(job_id: str) -> Request[JobStatus]:
    return Request(method="GET", path=_job_path(job_id, "status"), decode=_status)


def cancel(job_id: str) -> Request[JobStatus]:
    return Request(method="POST", path=_job_path(job_id, "cancel"), decode=_status)


def pause(job_id: str) -> Request[JobStatus]:
    return Request(method="POST", path=_job_path(job_id, "pause"), decode=_status, repeatable=False)


def resume(job_id: str) -> Request[JobStatus]:
    return Request(method="POST", path=_job_path(job_id, "resume"), decode=_status, repeatable=False)


def retry(job_id: str) -> Request[Submitted]:
    return Request(method="POST", path=_job_path(job_id, "retry"), decode=_submitted, repeatable=False)


def replay(job_id: str) -> Request[Submitted]:
    return Request(method="POST", path=_job_path(job_id, "replay"), decode=_submitted, repeatable=False)


def list_jobs(
    *,
    kind: str | None = None,
    state: JobState | str | None = None,
    states: Iterable[JobState | str] | str | None = (),
    queue: str | None = None,
    tag: str | None = None,
    limit: int | None = None,
    cursor: str | None = None,
) -> Request[Page[JobSummary]]:
    """state, states: one state or several, as JobState or by name. InvalidJob
    lists the known states."""
    wanted = [states] if isinstance(states, str) else list(states or ())
    wanted += [] if state is None else [state]
    statuses = tuple(("status", one_of(JobState, state, "state").value) for state in wanted)
    params = params_of(kind=_kind(kind), queue=queue, tag=tag, limit=limit, cursor=cursor)
    return Request(method="GET", path="/jobs", decode=_jobs, params=(*params, *statuses))


def delete_job(job_id: str) -> Request[None]:
    return _deleting(_job_path(job_id))


def attempts(job_id: str) -> Request[JobAttempts]:
    return Request(method="GET", path=_job_path(job_id, "attempts"), decode=_attempts)


def dead_letters(
    *,
    queue: str | None = None,
    kind: str | None = None,
    code: str | None = None,
    limit: int | None = None,
    cursor: str | None = None,
) -> Request[Page[DeadLetter]]:
    params = params_of(queue=queue, kind=_kind(kind), code=code, limit=limit, cursor=cursor)
    return Request(method="GET", path="/dead-letters", decode=_dead_letters, params=params)


def dead_letter(job_id: str) -> Request[DeadLetterDetails]:
    return Request(method="GET", path=f"/dead-letters/{segment(id_of(job_id))}", decode=_dead_letter)


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


def list_models(*, limit: int | None = None, cursor: str | None = None) -> Request[Page[Model]]:
    return Request(method="GET", path="/models", decode=_models, params=params_of(limit=limit, cursor=cursor))


def model(name: str) -> Request[ModelVersions]:
    return Request(method="GET", path=f"/models/{segment(name)}", decode=_versions)


def model_version(name: str, version: int | str) -> Request[Model]:
    return Request(method="GET", path=_version_path(name, version), decode=_model)


def model_part(name: str, version: int, start: int, end: int) -> Request[bytes]:
    """Bytes start to end - 1 of the ONNX file."""
    headers = {"range": f"bytes={start}-{end - 1}", "accept": "application/octet-stream"}
    return Request(method="GET", path=f"{_version_path(name, version)}/file", decode=bytes, headers=headers)


def stored_file(sha256: str) -> Request[StoredFile]:
    return Request(method="GET", path=f"/files/{sha256}", decode=_stored)


def put_part(ref: ArtifactRef, start: int, part: bytes) -> Request[StoredFile]:
    """The bytes from `start` on of a file that is the whole `ref`."""
    end = start + len(part)
    span = {"content-range": f"bytes {start}-{end - 1}/{ref.n_bytes}"} if len(part) < ref.n_bytes else {}
    headers = {"content-type": "application/octet-stream", **span}
    return Request(method="PUT", path=f"/files/{ref.sha256}", decode=_stored, headers=headers, body=part)


def set_alias(name: str, alias: str, version: int, *, warm: bool) -> Request[Model]:
    return Request(
        method="PUT",
        path=_alias_path(name, alias),
        decode=_model,
        headers={"content-type": "application/json"},
        body=encode_json({"version": version, "warm": warm}),
    )


def delete_alias(name: str, alias: str) -> Request[None]:
    return _deleting(_alias_path(name, alias))


def delete_model(name: str, version: int) -> Request[None]:
    return _deleting(_version_path(name, version))


def queues() -> Request[Queues]:
    return Request(method="GET", path="/queues", decode=_queues)


def recipes() -> Request[RecipeList]:
    return Request(method="GET", path="/recipes", decode=_recipes)


def workers() -> Request[Workers]:
    return Request(method="GET", path="/workers", decode=_workers)


def ready() -> Request[msgspec.Raw]:
    return Request(method="GET", path="/readyz", decode=_raw)


def events_path(job_id: str) -> str:
    return _job_path(job_id, "events")


def ended(job: Job) -> msgspec.Raw:
    """The result of a job that has ended. JobFailed, JobCancelled."""
    match job.state:
        case JobState.FAILED:
            raise JobFailed(job)
        case JobState.CANCELLED:
            raise JobCancelled(job)
        case _:
            return job.result


def _kind(kind: str | None) -> str | None:
    return None if kind is None else one_of(JobKind, kind, "kind").value


def _version_path(name: str, version: int | str) -> str:
    return f"/models/{segment(name)}/versions/{segment(str(version))}"


def _alias_path(name: str, alias: str) -> str:
    return f"/models/{segment(name)}/aliases/{segment(alias)}"


def _job_path(job_id: str, verb: str = "") -> str:
    return f"/jobs/{segment(id_of(job_id))}" + (f"/{verb}" if verb else "")


def _deleting(path: str) -> Request[None]:
    # Not repeatable: the second response would be 404, as if the thing had never existed.
    return Request(method="DELETE", path=path, decode=lambda _: None, repeatable=False)


def _of_dead_letters(verb: str, selection: DeadLetterSelection, decode: Callable[[bytes], T]) -> Request[T]:
    # Not repeatable: with a limit, a second request would take further dead letters.
    return Request(
        method="POST",
        path=f"/dead-letters/{verb}",
        decode=decode,
        headers={"content-type": "application/json"},
        body=encode_json(selection),
        repeatable=False,
    )


def segment(text: str) -> str:
    return quote(text, safe="@")


def params_of(**values: str | int | None) -> tuple[tuple[str, str], ...]:
    return tuple((name, str(value)) for name, value in values.items() if value is not None)
