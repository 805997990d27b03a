"""Queue names and job ids: how they are written, and what they contain.

A job id is `<queue>-<ulid>`. The queue decides the keys. The ULID (26 characters of lower-case
Crockford base32, https://github.com/ulid/spec) makes ids sort by the time of submission. A queue's
name begins with its kind: `training`, `training-large`, `inference`. A shard of a queue is written
`training.3`. Nothing here reads a clock: the caller passes the time.
"""

import re
from functools import cache, lru_cache
from typing import Annotated, NewType

import msgspec

from shared_schemas.errors import MalformedId
from shared_schemas.kinds import JobKind

JobId = NewType("JobId", str)
QueueName = NewType("QueueName", str)
ModelName = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}\Z", max_length=63)]

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_PAIRS = [first + second for first in _ALPHABET for second in _ALPHABET]
_ULID_LENGTH = 26
_LOW_40 = (1 << 40) - 1
_BATCH = "batch-"
_QUEUE_PATTERN = rf"(?P<kind>{'|'.join(JobKind)})(-[a-z0-9]{{1,24}}){{0,2}}(\.[0-9]{{1,3}})?"
_ULID_PATTERN = "[0-7][0-9a-hjkmnp-tv-z]{25}"
_QUEUE = re.compile(_QUEUE_PATTERN)
_ULID = re.compile(_ULID_PATTERN)
_JOB_ID = re.compile(f"(?P<queue>{_QUEUE_PATTERN})-(?P<ulid>{_ULID_PATTERN})")


@cache
def default_queue(kind: JobKind) -> QueueName:
    return QueueName(kind.value)


def parse_queue(name: str) -> QueueName:
    """MalformedId unless `name` is a kind, optionally followed by up to two `-word`s and a `.shard`."""
    if _QUEUE.fullmatch(name) is None:
        raise MalformedId(f"a queue is named {' or '.join(JobKind)}, optionally followed by -name and .shard")
    return QueueName(name)


def is_queue(name: str) -> bool:
    return _QUEUE.fullmatch(name) is not None


def kind_of_queue(queue: QueueName) -> JobKind:
    match = _QUEUE.fullmatch(queue)
    if match is None:
        raise MalformedId("not a queue name")
    return JobKind(match["kind"])


def new_job_id(queue: QueueName, *, now_ms: int, entropy: bytes) -> JobId:
    """entropy: 10 random bytes."""
    return JobId(f"{queue}-{_ulid((now_ms << 80) | int.from_bytes(entropy, 'big'))}")


def job_ids_from(first: JobId, n: int) -> list[JobId]:
    """`first` and the n - 1 ids that follow it."""
    number = _number_of(first)
    queue = queue_of(first)
    # The number cannot overflow before the year 10889.
    return [JobId(f"{queue}-{_ulid(number + i)}") for i in range(n)]


def created_ms(job_id: JobId) -> int:
    """The time in the id: when it was made, ms since the epoch."""
    return _number_of(job_id) >> 80


def _number_of(job_id: JobId) -> int:
    number = 0
    for digit in ulid_of(job_id):
        number = number << 5 | _ALPHABET.index(digit)
    return number


def parse_job_id(text: str) -> JobId:
    if _JOB_ID.fullmatch(text) is None:
        raise MalformedId("not a job id")
    return JobId(text)


def is_ulid(text: str) -> bool:
    """Whether the text has the form of a ULID."""
    return _ULID.fullmatch(text) is not None


def is_job_id(text: str) -> bool:
    return _JOB_ID.fullmatch(text) is not None


def queue_of(job_id: JobId) -> QueueName:
    return QueueName(job_id[: -_ULID_LENGTH - 1])


def kind_of(job_id: JobId) -> JobKind:
    return kind_of_queue(queue_of(job_id))


def _ulid(number: int) -> str:
    # One expression: a loop over the ten-bit pairs takes twice as long, and every new job needs an id.
    high, low = number >> 40 & _LOW_40, number & _LOW_40
    return (
        f"{_time_part(number >> 80)}"
        f"{_PAIRS[high >> 30]}{_PAIRS[high >> 20 & 1023]}{_PAIRS[high >> 10 & 1023]}{_PAIRS[high & 1023]}"
        f"{_PAIRS[low >> 30]}{_PAIRS[low >> 20 & 1023]}{_PAIRS[low >> 10 & 1023]}{_PAIRS[low & 1023]}"
    )


# Jobs that come in the same millisecond, and those of one list, have this part in common.
@lru_cache(maxsize=4)
def _time_part(at_ms: int) -> str:
    return "".join([_PAIRS[(at_ms >> shift) & 1023] for shift in range(40, -1, -10)])


def batch_id_of(base: JobId) -> str:
    """base: an id that no job has. The jobs of the batch have those that follow it."""
    return f"{_BATCH}{base}"


def base_of_batch(batch_id: str) -> JobId:
    """MalformedId."""
    if not batch_id.startswith(_BATCH):
        raise MalformedId("not a batch id")
    return parse_job_id(batch_id.removeprefix(_BATCH))


def job_of_line(base: JobId, line: int) -> JobId:
    """base: of the batch. line: counted from 1."""
    return JobId(f"{queue_of(base)}-{_ulid(_number_of(base) + line)}")


def line_of_job(base: JobId, job_id: JobId) -> int:
    return _number_of(job_id) - _number_of(base)


def ulid_of(job_id: JobId) -> str:
    """The last part of the id. To compare two of them is to compare the times of submission."""
    return job_id[-_ULID_LENGTH:]
