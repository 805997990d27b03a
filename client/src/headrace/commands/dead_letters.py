"""dead-letters list, show, retry, purge: the jobs that failed and wait for a person."""

import sys
from itertools import islice
from typing import Annotated

import typer
from shared_schemas.ids import JobKind
from shared_schemas.replies import RetriedJob

from headrace import tables
from headrace.client import Client
from headrace.commands.shared import COMMAND, JobArgument, JsonOption, UrlOption, connected, out, print_json
from headrace.connection import DEFAULT_URL
from headrace.errors import ClientError

QueueOption = Annotated[str | None, typer.Option("--queue", help="Only of this queue.")]
KindOption = Annotated[JobKind | None, typer.Option("--kind", help="Only of this kind.")]
CodeOption = Annotated[str | None, typer.Option("--code", help="Only those that failed with this error code.")]
AllOption = Annotated[bool, typer.Option("--all", help="All of them.")]
JobsArgument = Annotated[list[str] | None, typer.Argument(metavar="[JOB]...", help="Ids of jobs.")]


def register(app: typer.Typer) -> None:
    group = typer.Typer(
        name="dead-letters",
        help="Jobs that failed: look at them, run them again, take them off the list.",
        no_args_is_help=True,
    )
    group.command("list")(list_dead_letters)
    for command in (show, retry, purge):
        group.command()(command)
    app.add_typer(group)


def list_dead_letters(
    queue: QueueOption = None,
    kind: KindOption = None,
    code: CodeOption = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="How many, the newest first.")] = 20,
    url: UrlOption = DEFAULT_URL,
    as_json: JsonOption = False,
) -> None:
    """Jobs that failed and were neither retried nor purged, the newest first."""
    with connected(url) as client:
        found = client.dead_letters(queue=queue, kind=kind, code=code, page_size=min(limit, 100))
        rows = list(islice(found, limit))
    if as_json:
        print_json(rows)
    elif rows:
        out.print(tables.dead_letters(rows))
    else:
        out.print("no dead letters" + _such(queue, kind, code))


def show(job: JobArgument, url: UrlOption = DEFAULT_URL, as_json: JsonOption = False) -> None:
    """One dead letter: its error, and every attempt with its worker, how long it ran, how it ended and why."""
    with connected(url) as client:
        row = client.dead_letter(job)
    if as_json:
        print_json(row)
        return
    out.print(tables.dead_letter(row))
    if row.attempts:
        out.print()
        out.print(tables.attempts(row.attempts))
    out.print(f"\n[dim]  {COMMAND} dead-letters retry {row.id}[/]", soft_wrap=True)


def retry(
    jobs: JobsArgument = None,
    queue: QueueOption = None,
    kind: KindOption = None,
    code: CodeOption = None,
    everything: AllOption = False,
    limit: Annotated[int | None, typer.Option("--limit", "-n", min=1, max=1000, help="The newest so many.")] = None,
    url: UrlOption = DEFAULT_URL,
    as_json: JsonOption = False,
) -> None:
    """Run dead letters again, each as a new job: those named, or all that the options choose."""
    _check_choice(jobs or [], queue, kind, code, everything=everything)
    error: ClientError | None = None
    with connected(url) as client:
        if jobs:
            rows, error = _retry_each(client, jobs)
        else:
            rows = list(client.retry_dead_letters(queue=queue, kind=kind, code=code, all=everything, limit=limit))
    if as_json:
        print_json(rows)
    elif rows:
        out.print(tables.retried(rows))
    elif error is None:
        out.print("nothing to retry: no dead letters" + _such(queue, kind, code))
    if error is not None:
        raise error


def purge(
    queue: QueueOption = None,
    kind: KindOption = None,
    code: CodeOption = None,
    everything: AllOption = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    url: UrlOption = DEFAULT_URL,
    as_json: JsonOption = False,
) -> None:
    """Take dead letters off the list. The failed jobs stay readable; `headrace retry JOB` still runs one again."""
    _check_choice(None, queue, kind, code, everything=everything)
    if not yes and not _agrees("Purge all dead letters" + _such(queue, kind, code) + "?"):
        out.print("nothing was purged")
        return
    with connected(url) as client:
        job_ids = client.purge_dead_letters(queue=queue, kind=kind, code=code, all=everything)
    if as_json:
        print_json(job_ids)
    else:
        out.print(f"purged {len(job_ids)}")


def _retry_each(client: Client, jobs: list[str]) -> tuple[list[RetriedJob], ClientError | None]:
    """Up to the first that cannot be: what was done before it must be told."""
    rows: list[RetriedJob] = []
    for job in jobs:
        try:
            row = client.dead_letter(job)
            rows.append(RetriedJob(job_id=row.id, retried_as=client.retry(job).job_id))
        except ClientError as error:
            return rows, error
    return rows, None


def _check_choice(
    jobs: list[str] | None, queue: str | None, kind: JobKind | None, code: str | None, *, everything: bool
) -> None:
    """jobs: None where none can be named."""
    ways = (bool(jobs), any(value is not None for value in (queue, kind, code)), everything)
    if sum(ways) != 1:
        named = "name jobs, or " if jobs is not None else ""
        raise typer.BadParameter(f"{named}choose by --queue, --kind and --code, or say --all")


def _agrees(question: str) -> bool:
    if not sys.stdin.isatty():
        raise typer.BadParameter("nobody can be asked here: say --yes")
    return typer.confirm(question, err=True)


def _such(queue: str | None, kind: JobKind | None, code: str | None) -> str:
    parts = [f" of queue {queue}"] if queue is not None else []
    parts += [f" of kind {kind.value}"] if kind is not None else []
    parts += [f" with code {code}"] if code is not None else []
    return "".join(parts)
