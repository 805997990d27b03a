"""What every command shares: its common options, its two outputs, and what the exit codes mean.

Answers go to stdout; with --json they are JSON and nothing else is. All the rest goes to stderr.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from typing import Annotated, Any

import httpx
import msgspec
import typer
from rich.console import Console
from rich.markup import escape
from shared_schemas.codec import encode_json

from headrace.client import Client
from headrace.connection import DEFAULT_URL
from headrace.errors import (
    ApiError,
    BadRequest,
    ClientError,
    Conflict,
    InvalidJob,
    JobEnded,
    NotFound,
    Unavailable,
    Unreachable,
    WaitTimedOut,
)

# A pipe has no width: rich would cut every table to 80 columns.
_PIPE_WIDTH = 240
# What to type before a command, in hints: uv names itself to what it runs.
COMMAND = "uv run headrace" if "UV" in os.environ else "headrace"


class ExitCode(IntEnum):
    OK = 0
    JOB_FAILED = 1
    USAGE = 2
    NOT_FOUND = 3
    CONFLICT = 4
    UNREACHABLE = 5
    TIMED_OUT = 6
    INTERNAL = 7
    INTERRUPTED = 130


EXIT_CODES = "\n\n".join(
    (
        "[bold]Exit codes[/]",
        "  0  all well",
        "  1  the job failed or was cancelled, or its replay differs",
        "  2  wrong usage, or the gateway refused what was sent",
        "  3  no such job or model",
        "  4  the job's state forbids it",
        "  5  cannot reach the gateway",
        "  6  waited too long",
        "  7  an error inside the gateway",
        "  78  of `up` and `demo`: a setting that cannot be",
        "  130  Ctrl-C; `up` ends with 0 after one, 130 after two",
    )
)

UrlOption = Annotated[str, typer.Option("--url", envvar="HEADRACE_URL", help="Address of the gateway.")]
JsonOption = Annotated[bool, typer.Option("--json", help="JSON on stdout, all else on stderr.")]
JobArgument = Annotated[str, typer.Argument(metavar="JOB", help="Id of a job.")]

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)
if not out.is_terminal:
    out.width = _PIPE_WIDTH
if not err.is_terminal:
    err.width = _PIPE_WIDTH


def exit_code_of(error: ClientError) -> ExitCode:
    match error:
        case JobEnded():
            return ExitCode.JOB_FAILED
        case BadRequest(code="idempotency_key_reused"):
            return ExitCode.CONFLICT
        case BadRequest() | InvalidJob():
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
    err.print(f"[bold red]error[/] [dim]{escape(error.code)}[/] {escape(str(error))}", soft_wrap=True)
    if isinstance(error, ApiError):
        for part in error.errors:
            err.print(f"  {escape(part.pointer or '/')}: {escape(part.detail)}", soft_wrap=True)
        if error.request_id:
            err.print(f"  [dim]request {escape(error.request_id)}[/]")
    if isinstance(error, Unreachable):
        err.print(f"  is it running? [bold]{COMMAND} up[/] starts one; --url or HEADRACE_URL names another")


@contextmanager
def connected(url: str = DEFAULT_URL) -> Iterator[Client]:
    try:
        client = Client(url)
    except httpx.InvalidURL as error:
        raise typer.BadParameter(f"{error}", param_hint="--url") from None
    with client:
        yield client


def print_json(value: Any) -> None:
    """Compact on a pipe, one value a line; indented for a person."""
    text = encode_json(value)
    if sys.stdout.isatty():
        text = msgspec.json.format(text, indent=2)
    sys.stdout.write(text.decode() + "\n")
    sys.stdout.flush()
