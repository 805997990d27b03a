"""A batch: many inference jobs from one file of JSON lines, and the lines of its output and errors.
The form of a line is that of OpenAI's batches. Knows no transport."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from shared_schemas.ids import QueueName
from shared_schemas.kinds import JobKind
from shared_schemas.raw import null, readable
from shared_schemas.specs import InferenceSpec

# The code of the error of a job that somebody cancelled; as the client's exception has it.
CANCELLED = "job_cancelled"
# Of every line.
BATCH_KIND = JobKind.INFERENCE
BatchSpec = InferenceSpec


class BatchLine(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One line of the input. custom_id: names the line in the output; no other line of the batch has
    it. body: as for `POST /jobs/inference`. method, url: may be left out."""

    custom_id: Annotated[str, Meta(min_length=1, max_length=256)]
    body: msgspec.Raw
    method: Literal["POST"] = "POST"
    url: Literal["/jobs/inference"] = "/jobs/inference"


class BatchResponse(msgspec.Struct, frozen=True, kw_only=True):
    """body: the result of the job."""

    status_code: int
    request_id: str
    body: msgspec.Raw = msgspec.field(default_factory=null)

    __repr__ = readable


class BatchError(msgspec.Struct, frozen=True, kw_only=True):
    """code: as in a problem, or of the job. param: JSON pointer into the line. line: counted from
    1."""

    code: str
    message: str
    param: str | None = None
    line: int | None = None


class BatchResult(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the output or of the errors. id: of the job; null for a line that is no job.
    custom_id: null if it cannot be read. response: of a job that succeeded."""

    id: str | None
    custom_id: str | None
    response: BatchResponse | None = None
    error: BatchError | None = None


class BatchState(StrEnum):
    """receiving: its lines are arriving, or their arrival was interrupted. running: all lines have
    arrived, and jobs are open. cancelling: somebody cancelled it, and jobs are open. completed,
    cancelled: no job is open."""

    RECEIVING = "receiving"
    RUNNING = "running"
    CANCELLING = "cancelling"
    COMPLETED = "completed"
    CANCELLED = "cancelled"


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """n_lines: lines that have arrived, without blank ones. n_invalid: of these, lines that are no job.
    jobs: how many of the others are in each state; a job whose result_ttl has passed is in none.
    urls: paths by name (self, output, errors, cancel)."""

    batch_id: str
    queue: QueueName
    status: BatchState
    n_lines: int
    n_invalid: int
    jobs: dict[str, int]
    created_at: datetime
    cancelled_at: datetime | None = None
    urls: dict[str, str] = {}


class BatchList(msgspec.Struct, frozen=True, kw_only=True):
    """Newest first, at most 100."""

    batches: tuple[Batch, ...]
