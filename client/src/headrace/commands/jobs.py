"""status, attempts, result, list, cancel, pause, resume, retry: one job or many, asked once."""

from itertools import islice
from typing import Annotated

import typer
from shared_schemas.ids import JobKind
from shared_schemas.job import JobState
from shared_schemas.replies import JobStatus, Submitted

from headrace import tables
from headrace.commands.following import print_end
from headrace.commands.shared import COMMAND, JobArgument, JsonOption, UrlOption, connected, out, print_json
from headrace.connection import DEFAULT_URL


def register(app: typer.Typer) -> None:
    for command in (status, attempts, result, cancel, pause, resume, retry):
        app.command()(command)
    app.command("list")(list_jobs)


def status(job: JobArgument, url: UrlOption = DEFAULT_URL, as_json: JsonOption = False) -> None:
    """Where a job stands now."""
    with connected(url) as client:
        _print_status(client.status(job), as_json=as_json)


def attempts(job: JobArgument, url: UrlOption = DEFAULT_URL, as_json: JsonOption = False) -> None:
    """Who ran a job, when, for how long, and how each attempt ended."""
    with connected(url) as client:
        rows = client.attempts(job)
    if as_json:
        print_json(rows)
    elif rows:
        out.print(tables.attempts(rows))
    else:
        out.print("no attempts yet")


def result(
    job: JobArgument,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until the job has ended.")] = True,
    timeout: Annotated[float | None, typer.Option("--timeout", min=0.0, help="Wait at most so many seconds.")] = None,
    url: UrlOption = DEFAULT_URL,
    as_json: JsonOption = False,
) -> None:
    """What a job returned, once it has ended. --json prints the whole job."""
    with connected(url) as client:
        print_end(client.wait(job, timeout_s=timeout if wait else 0.0), as_json=as_json)


def list_jobs(
    kind: Annotated[JobKind | None, typer.Option("--kind")] = None,
    states: Annotated[list[JobState] | None, typer.Option("--status", help="Only these states.")] = None,
    queue: Annotated[str | None, typer.Option("--queue")] = None,
    tag: Annotated[str | None, typer.Option("--tag")] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="How many, the newest first.")] = 20,
    url: UrlOption = DEFAULT_URL,
    as_json: JsonOption = False,
) -> None:
    """Jobs, the newest first."""
    with connected(url) as client:
        rows = list(
            islice(
                client.list(
                    kind=None if kind is None else kind.value,
                    states=states or (),
                    queue=queue,
                    tag=tag,
                    page_size=min(limit, 100),
                ),
                limit,
            )
        )
    if as_json:
        print_json(rows)
    elif rows:
        out.print(tables.jobs(rows))
    else:
        out.print("no jobs")


def cancel(job: JobArgument, url: UrlOption = DEFAULT_URL, as_json: JsonOption = False) -> None:
    """Cancel a job; one that runs is asked to end, which `watch` shows."""
    with connected(url) as client:
        _print_status(client.cancel(job), as_json=as_json)


def pause(job: JobArgument, url: UrlOption = DEFAULT_URL, as_json: JsonOption = False) -> None:
    """Set a job aside until `resume`; one that trains saves a checkpoint first."""
    with connected(url) as client:
        _print_status(client.pause(job), as_json=as_json)


def resume(job: JobArgument, url: UrlOption = DEFAULT_URL, as_json: JsonOption = False) -> None:
    """Let a paused job go on."""
    with connected(url) as client:
        _print_status(client.resume(job), as_json=as_json)


def retry(job: JobArgument, url: UrlOption = DEFAULT_URL, as_json: JsonOption = False) -> None:
    """Submit a job that failed or was cancelled again, as a new job."""
    with connected(url) as client:
        print_submitted(client.retry(job), as_json=as_json)


def print_submitted(reply: Submitted, *, as_json: bool) -> None:
    if as_json:
        print_json(reply)
        return
    out.print(f"[bold]{reply.job_id}[/]  {reply.status.value}", soft_wrap=True)
    out.print(f"[dim]  {COMMAND} watch {reply.job_id}[/]", soft_wrap=True)


def _print_status(row: JobStatus, *, as_json: bool) -> None:
    if as_json:
        print_json(row)
    else:
        out.print(tables.status(row))
