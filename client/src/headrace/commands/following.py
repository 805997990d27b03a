"""watch, events, replay: what happens to a job, live or again."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import Annotated

import typer
from rich.console import Console
from shared_schemas.events import StreamEvent
from shared_schemas.job import Job, JobState

from headrace import tables
from headrace.client import Client
from headrace.commands.shared import (
    COMMAND,
    ExitCode,
    JobArgument,
    JsonOption,
    UrlOption,
    connected,
    err,
    out,
    print_json,
)
from headrace.connection import DEFAULT_URL
from headrace.picture import Picture
from headrace.requests import ended
from headrace.views import readable, view_of

_VERDICTS = {
    True: "is [bold green]identical[/] to",
    False: "is [bold red]different[/] from",
    None: "cannot be compared: there is no result of",
}


def register(app: typer.Typer) -> None:
    app.command()(watch)
    app.command()(events)
    app.command()(replay)


def watch(job: JobArgument, url: UrlOption = DEFAULT_URL, as_json: JsonOption = False) -> None:
    """Show a job live until it ends: progress, loss, log, tokens, result.

    With --json the finished job is printed, as GET /jobs/JOB gives it. Ctrl-C stops watching, not the job.
    """
    with connected(url) as client:
        watch_to_end(client, job, as_json=as_json)


def watch_to_end(client: Client, job_id: str, *, as_json: bool, title: str | None = None) -> Job:
    """Show the job until it has ended and print its result. JobFailed or JobCancelled if it has none."""
    console = err if as_json else out
    waiting = tables.why_waiting(client.status(job_id))
    if waiting is not None:
        console.print(f"  waiting {waiting}", style="yellow", soft_wrap=True)
    try:
        picture = show(client.events(job_id), job_id, console, title=title)
    except KeyboardInterrupt:
        err.print(f"the job goes on; see it again: {COMMAND} watch {job_id}", soft_wrap=True)
        raise
    return print_end(client.job(job_id), as_json=as_json, seen=picture)


def show(
    happened: Iterable[StreamEvent], job_id: str, console: Console, *, title: str | None = None, speed: float = 1.0
) -> Picture:
    with view_of(job_id, console, title=title, speed=speed) as view:
        for event in happened:
            view.show(event)
    return view.picture


def print_end(job: Job, *, as_json: bool, seen: Picture | None = None) -> Job:
    """seen: what was shown of the job already."""
    if as_json:
        print_json(job)
    ended(job)
    if not as_json:
        tables.print_result(out, job, is_text_seen=seen is not None and seen.shows_whole_text)
    return job


def events(
    job: JobArgument,
    after: Annotated[int, typer.Option("--after", min=0, help="Number of the last event you have.")] = 0,
    url: UrlOption = DEFAULT_URL,
    as_json: JsonOption = False,
) -> None:
    """Print a job's events as they come until it has ended, one a line; with --json as stored (NDJSON)."""
    with connected(url) as client:
        for item in client.follow(job, after=after):
            if as_json or item.event is None:
                sys.stdout.write(item.data + "\n")
                sys.stdout.flush()
            else:
                out.print(readable(item.event), soft_wrap=True)


def replay(
    job: JobArgument,
    speed: Annotated[float, typer.Option("--speed", min=0.01, help="How many times faster than it was.")] = 1.0,
    run: Annotated[bool, typer.Option("--run", help="Run it again as a new job and compare the results.")] = False,
    url: UrlOption = DEFAULT_URL,
    as_json: JsonOption = False,
) -> None:
    """Show a finished job again at its own pace, or run it again (--run).

    A run takes the same spec, seed and model version; the exit code is 1 if its result differs.
    """
    with connected(url) as client:
        if run:
            _run_again(client, job, as_json=as_json)
            return
        happened = client.events(job)
        if client.job(job).state.is_terminal:
            happened = at_pace(happened, speed=speed)
        else:
            speed = 1.0
        seen = show(happened, job, err if as_json else out, speed=speed)
        print_end(client.job(job), as_json=as_json, seen=seen)


def at_pace(happened: Iterable[StreamEvent], *, speed: float) -> Iterator[StreamEvent]:
    """The events when they came, counted from the first, `speed` times faster."""
    began, first_ms = time.monotonic(), 0
    for event in happened:
        first_ms = first_ms or event.at
        due = began + (event.at - first_ms) / 1000 / speed
        time.sleep(max(0.0, due - time.monotonic()))
        yield event


def _run_again(client: Client, job_id: str, *, as_json: bool) -> None:
    client.wait(job_id)
    again = client.replay(job_id)
    seen = show(client.events(again.job_id), again.job_id, err if as_json else out, title=f"replay of {job_id}")
    repeated = client.job(again.job_id)
    identical = repeated.replay.identical if repeated.replay is not None else None
    if as_json:
        print_json({"job_id": repeated.id, "replay_of": job_id, "identical": identical, "status": repeated.state})
    else:
        if repeated.state is JobState.SUCCEEDED:
            tables.print_result(out, repeated, is_text_seen=seen.shows_whole_text)
        out.print(f"The replay {repeated.id} {_VERDICTS[identical]} {job_id}", soft_wrap=True)
    if identical is False or repeated.state is not JobState.SUCCEEDED:
        raise typer.Exit(ExitCode.JOB_FAILED)
