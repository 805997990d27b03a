"""Shared by all commands that use a gateway: the connection, the output, and
the exit codes of errors.

Results go to stdout, everything else to stderr. With --json, stdout has nothing but
JSON. Knows no single command.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
from shared_schemas.codec import encode_json
from shared_schemas.job import Job

from headrace import answer_lines, text
from headrace.client import Client
from headrace.commands.command import COMMAND, ExitCode, Given
from headrace.connection import Settings
from headrace.endpoints import ended
from headrace.errors import (
    ApiError,
    BadRequest,
    ClientError,
    Conflict,
    InvalidJob,
    InvalidSettings,
    JobEnded,
    NotFound,
    QueueFull,
    Unavailable,
    Unreachable,
    WaitTimedOut,
)
from headrace.ink import Text
from headrace.terminal import err, out


def exit_code_of(error: ClientError) -> ExitCode:
    match error:
        case JobEnded():
            return ExitCode.JOB_FAILED
        case BadRequest(code="idempotency_key_reused"):
            return ExitCode.CONFLICT
        case BadRequest() | InvalidJob() | InvalidSettings():
            return ExitCode.USAGE
        case NotFound():
            return ExitCode.NOT_FOUND
        case Conflict():
            return ExitCode.CONFLICT
        case Unreachable() | Unavailable():
            return ExitCode.UNREACHABLE
        case WaitTimedOut():
            return ExitCode.TIMED_OUT
        case _:
            return ExitCode.INTERNAL


def report(error: ClientError) -> None:
    """Print the error on stderr: one line, and one for each wrong part of the body."""
    err.print(Text.assemble(("error", "bold red"), " ", (error.code, "dim"), f" {error}"))
    if isinstance(error, ApiError):
        for part in error.errors:
            err.print(f"  {part.pointer or '/'}: {part.detail}")
        if error.request_id:
            err.print(f"  request {error.request_id}", "dim")
    if isinstance(error, QueueFull) and error.retry_after_s is not None:
        err.print(f"  there may be room in {text.duration(error.retry_after_s)}")
    if isinstance(error, Unreachable):
        err.print(f"  is it running? {COMMAND} up starts one; --url or HEADRACE_URL names another")


@contextmanager
def connected(given: Given) -> Iterator[Client]:
    """Connect to the gateway that the options, the environment or a profile name."""
    with Client(given.url, profile=given.profile, settings=Settings(on_full=_say_that_it_waits)) as client:
        yield client


def _say_that_it_waits(error: QueueFull, pause_s: float) -> None:
    err.print(f"{error}; sending again in {text.duration(pause_s)}", "dim")


def print_json(value: Any) -> None:
    """Print JSON: indented on a terminal, else on one line."""
    text = encode_json(value)
    if out.is_terminal:
        text = msgspec.json.format(text, indent=2)
    out.json(text.decode())


def print_watch_hint(job_id: str) -> None:
    """After a Ctrl-C, say that the job goes on and how to watch it."""
    err.print(f"the job goes on; see it again: {COMMAND} watch {job_id}")


def print_end(job: Job, *, as_json: bool, is_text_seen: bool = False) -> Job:
    """Print the result of a job that has ended. JobFailed, JobCancelled. is_text_seen: its
    text was shown already."""
    if as_json:
        print_json(job)
    ended(job)
    if not as_json:
        answer_lines.print_result(out, job, is_text_seen=is_text_seen)
    return job
