"""dead-letters list, show, retry, purge: the jobs that failed and wait for a person."""

import sys
from itertools import islice

from shared_schemas.kinds import JobKind
from shared_schemas.replies import RetriedJob

from headrace import tables
from headrace.client import Client
from headrace.commands.command import COMMAND, Command, Given, Parser, WrongUsage, one_of, whole
from headrace.commands.shared import connected, print_json
from headrace.errors import ClientError
from headrace.terminal import err, out


def _choice(parser: Parser) -> None:
    parser.add_argument("--queue", help="Only of this queue.")
    parser.add_argument("--kind", type=one_of(JobKind), help=f"Only of this kind: {' or '.join(JobKind)}.")
    parser.add_argument("--code", help="Only those that failed with this error code.")


def _list_options(parser: Parser) -> None:
    _choice(parser)
    parser.add_argument("-n", "--limit", type=whole(1), default=20, help="How many, the newest first (20).")
    parser.add_common()


def list_dead_letters(given: Given) -> None:
    with connected(given) as client:
        found = client.dead_letters(
            queue=given.queue, kind=given.kind, code=given.code, page_size=min(given.limit, 100)
        )
        rows = list(islice(found, given.limit))
    if given.as_json:
        print_json(rows)
    elif rows:
        out.print(tables.dead_letters(rows))
    else:
        out.print("no dead letters" + _such(given))


def _show_options(parser: Parser) -> None:
    parser.add_job()
    parser.add_common()


def show(given: Given) -> None:
    with connected(given) as client:
        row = client.dead_letter(given.job)
    if given.as_json:
        print_json(row)
        return
    out.print(tables.dead_letter(row))
    if row.attempts:
        out.print()
        out.print(tables.attempts(row.attempts))
    out.print(f"\n  {COMMAND} dead-letters retry {row.id}", "dim")


def _retry_options(parser: Parser) -> None:
    parser.add_argument("jobs", nargs="*", metavar="JOB", help="Ids of jobs.")
    _choice(parser)
    parser.add_argument("--all", dest="everything", action="store_true", help="All of them.")
    parser.add_argument("-n", "--limit", type=whole(1, 1000), help="The newest so many.")
    parser.add_common()


def retry(given: Given) -> None:
    _check_choice(given.jobs, given)
    error: ClientError | None = None
    with connected(given) as client:
        if given.jobs:
            rows, error = _retry_each(client, given.jobs)
        else:
            rows = list(
                client.retry_dead_letters(
                    queue=given.queue, kind=given.kind, code=given.code, all=given.everything, limit=given.limit
                )
            )
    if given.as_json:
        print_json(rows)
    elif rows:
        out.print(tables.retried(rows))
    elif error is None:
        out.print("nothing to retry: no dead letters" + _such(given))
    if error is not None:
        raise error


def _purge_options(parser: Parser) -> None:
    _choice(parser)
    parser.add_argument("--all", dest="everything", action="store_true", help="All of them.")
    parser.add_argument("-y", "--yes", action="store_true", help="Do not ask.")
    parser.add_common()


def purge(given: Given) -> None:
    _check_choice(None, given)
    if not given.yes and not _agrees("Purge all dead letters" + _such(given) + "?"):
        out.print("nothing was purged")
        return
    with connected(given) as client:
        job_ids = client.purge_dead_letters(queue=given.queue, kind=given.kind, code=given.code, all=given.everything)
    if given.as_json:
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


def _check_choice(jobs: list[str] | None, given: Given) -> None:
    """jobs: None where none can be named."""
    ways = (bool(jobs), any(value is not None for value in (given.queue, given.kind, given.code)), given.everything)
    if sum(ways) != 1:
        named = "name jobs, or " if jobs is not None else ""
        raise WrongUsage(f"{named}choose by --queue, --kind and --code, or say --all")


def _agrees(question: str) -> bool:
    if sys.stdin is None or not sys.stdin.isatty():
        raise WrongUsage("nobody can be asked here: say --yes")
    err.print(f"{question} [y/N]: ", end="")
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _such(given: Given) -> str:
    parts = [f" of queue {given.queue}"] if given.queue is not None else []
    parts += [f" of kind {given.kind}"] if given.kind is not None else []
    parts += [f" with code {given.code}"] if given.code is not None else []
    return "".join(parts)


COMMANDS = {
    "dead-letters list": Command(
        "Jobs that failed and were neither retried nor purged, the newest first.", _list_options, list_dead_letters
    ),
    "dead-letters show": Command(
        "One dead letter: its error, and every attempt with its worker, how long it ran, how it ended and why.",
        _show_options,
        show,
    ),
    "dead-letters retry": Command(
        "Run dead letters again, each as a new job: those named, or all that the options choose.", _retry_options, retry
    ),
    "dead-letters purge": Command(
        "Take dead letters off the list.\n\nThe failed jobs stay readable; `headrace retry JOB` still runs one again.",
        _purge_options,
        purge,
    ),
}
