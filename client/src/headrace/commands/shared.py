"""What every command that asks a gateway shares: how it connects, its two outputs, and what the exit codes mean.

Answers go to stdout; with --json they are JSON and nothing else is. All the rest goes to stderr.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
from shared_schemas.codec import encode_json
from shared_schemas.job import Job

from headrace import answer_lines
from headrace.client import Client
from headrace.commands.command import COMMAND, ExitCode, Given
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
    """One line on stderr, and one for each part of the body that is wrong."""
    err.print(Text.assemble(("error", "bold red"), " ", (error.code, "dim"), f" {error}"))
    if isinstance(error, ApiError):
        for part in error.errors:
            err.print(f"  {part.pointer or '/'}: {part.detail}")
        if error.request_id:
            err.print(f"  request {error.request_id}", "dim")
    if isinstance(error, Unreachable):
        err.print(f"  is it running? {COMMAND} up starts one; --url or HEADRACE_URL names another")


@contextmanager
def connected(given: Given) -> Iterator[Client]:
    """To the gateway that the options, the environment or a profile name."""
    with Client(given.url, profile=given.profile) as client:
        yield client


def print_json(value: Any) -> None:
    """Compact on a pipe, one value a line; indented for a person."""
    text = encode_json(value)
    if out.is_terminal:
        text = msgspec.json.format(text, indent=2)
    out.json(text.decode())


def say_how_to_see_it_again(job_id: str) -> None:
    """After a Ctrl-C."""
    err.print(f"the job goes on; see it again: {COMMAND} watch {job_id}")


def print_end(job: Job, *, as_json: bool, is_text_seen: bool = False) -> Job:
    """Print what the job returned. JobFailed or JobCancelled if that is nothing. is_text_seen: it was shown already."""
    if as_json:
        print_json(job)
    ended(job)
    if not as_json:
        answer_lines.print_result(out, job, is_text_seen=is_text_seen)
    return job
