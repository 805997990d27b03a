"""The results of a run under faults: a history with one JSON object per line, and a dump of Redis
at rest.

Clients, workers, followers and the conductor append to the same file. They write each line with one
system call, so it is complete even if its writer dies. `at` is the monotonic clock of the machine,
which all processes share. `wall` is the wall clock, for people and for comparison with the stamps
of Redis. This module knows neither Redis nor what is correct: see checker.py.
"""

import os
import re
import time
from collections.abc import Iterable
from pathlib import Path

import msgspec

_NONCE = re.compile(r"nonce-[0-9a-f]{12}")
TERMINAL = frozenset({"succeeded", "failed", "cancelled"})


class _Entry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="entry"):
    at: float = 0.0
    wall: float = 0.0


class Invoked(_Entry, frozen=True, kw_only=True, omit_defaults=True, tag="invoked"):
    """A client sent a request. op: the number of the request; a repeated request gets a new one.
    nonce: that of the input of its job. key: its Idempotency-Key. job: the job that it is about,
    empty for a submission."""

    op: int
    verb: str
    nonce: str
    job: str = ""
    key: str = ""
    max_failures: int = 3


class Answered(_Entry, frozen=True, kw_only=True, omit_defaults=True, tag="answered"):
    """A client received an answer. outcome: ok, refused (4xx: nothing was done) or unknown (no
    answer, or 5xx). job: the job of an accepted submission. state: the state of the job in the
    answer. nonces: those in the answer."""

    op: int
    outcome: str
    status: int = 0
    job: str = ""
    state: str = ""
    nonces: tuple[str, ...] = ()


class Attempted(_Entry, frozen=True, kw_only=True, omit_defaults=True, tag="attempted"):
    """A worker did something. what: begin, effect or end. nonce: that of the input it was given."""

    worker: str
    job: str
    attempt: int
    fence: str
    what: str
    nonce: str = ""


class Received(_Entry, frozen=True, kw_only=True, omit_defaults=True, tag="received"):
    """A follower received an event. n: its number; for a `gap`, the number of the first event that
    is still kept. sha: see checker.sha_of."""

    follower: str
    job: str
    n: int
    event: str
    sha: str = ""
    nonces: tuple[str, ...] = ()


class Followed(_Entry, frozen=True, kw_only=True, omit_defaults=True, tag="followed"):
    """A follower got 204: there are no more events."""

    follower: str
    job: str


class Faulted(_Entry, frozen=True, kw_only=True, omit_defaults=True, tag="faulted"):
    kind: str
    target: str = ""


class Sampled(_Entry, frozen=True, kw_only=True, omit_defaults=True, tag="sampled"):
    """The size of a process at rest. role: gateway, worker or redis. cpu: share of one core. base:
    measured before the first load."""

    process: str
    role: str
    fds: int
    threads: int
    rss_mib: float
    cpu: float
    base: bool = False


class Wrote(_Entry, frozen=True, kw_only=True, omit_defaults=True, tag="wrote"):
    """A process wrote `count` log lines of one sort, warnings or worse, in the second from `wall`.
    Lines about a job count once for each job."""

    process: str
    line: str
    count: int


class Ended(_Entry, frozen=True, kw_only=True, omit_defaults=True, tag="ended"):
    """A process ended by itself, or with a wrong exit status when it was asked to end."""

    process: str
    status: int


class Orphaned(_Entry, frozen=True, kw_only=True, omit_defaults=True, tag="orphaned"):
    """A process outlived the processes that had started it."""

    command: str
    pid: int


Entry = (
    Invoked | Answered | Attempted | Received | Followed | Faulted | Sampled | Wrote | Ended | Orphaned
)  # fmt: skip


class JobDump(msgspec.Struct, frozen=True, kw_only=True):
    """fields: those of the job's hash. events: its timeline, (id of the entry, JSON)."""

    fields: dict[str, str]
    events: tuple[tuple[str, str], ...]


class Dump(msgspec.Struct, frozen=True, kw_only=True):
    """Redis at rest. jobs: those of this history. listings: ids by `<state>:<lane>`. sets: ids by
    set (leases, due, …). streams: lane -> (length, pending). idempotency: job by key. artifacts:
    the SHA-256 of the content of each referenced file by its name, empty if the file does not
    exist."""

    jobs: dict[str, JobDump]
    listings: dict[str, tuple[str, ...]] = {}
    sets: dict[str, tuple[str, ...]] = {}
    streams: dict[str, tuple[int, int]] = {}
    idempotency: dict[str, str] = {}
    artifacts: dict[str, str] = {}


class History:
    """An open history. Any number of processes may append to one file."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def append(self, entry: Entry) -> None:
        stamped = msgspec.structs.replace(entry, at=time.monotonic(), wall=time.time())
        os.write(self._file, msgspec.json.encode(stamped) + b"\n")

    def keep(self, entry: Entry) -> None:
        """Append an entry with the times that it already has."""
        os.write(self._file, msgspec.json.encode(entry) + b"\n")

    def clear(self) -> None:
        """Empty the history, for every process that has the file open."""
        os.ftruncate(self._file, 0)

    def close(self) -> None:
        os.close(self._file)


def read(path: Path) -> list[Entry]:
    decoder = msgspec.json.Decoder(Entry)
    return [decoder.decode(line) for line in path.read_bytes().splitlines()]


def write(path: Path, entries: Iterable[Entry]) -> None:
    path.write_bytes(b"".join(msgspec.json.encode(entry) + b"\n" for entry in entries))


def nonces_in(text: str) -> tuple[str, ...]:
    return tuple(sorted(set(_NONCE.findall(text))))
