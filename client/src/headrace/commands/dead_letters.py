"""dead-letters list, show, retry, purge: jobs that failed and wait for a person."""

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


def _selection_options(parser: Parser) -> None:
    parser.add_argument("--queue", help="Only jobs of this queue.")
    parser.add_argument("--kind", type=one_of(JobKind), help=f"Only jobs of this kind: {' or '.join(JobKind)}.")
    parser.add_argument("--code", help="Only jobs that failed with this error code.")


def _list_options(parser: Parser) -> None:
    _selection_options(parser)
    parser.add_argument("-n", "--limit", type=whole(1), default=20, help="How many to list, newest first (20).")
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
        out.print("no dead letters" + _filters_in_words(given))


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
    parser.add_argument("jobs", nargs="*", metavar="JOB", help="Job ids.")
    _selection_options(parser)
    parser.add_argument("--all", dest="everything", action="store_true", help="All dead letters.")
    parser.add_argument("-n", "--limit", type=whole(1, 1000), help="Only this many of the newest.")
    parser.add_common()


def retry(given: Given) -> None:
    _check_selection(given.jobs, given)
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
        out.print("nothing to retry: no dead letters" + _filters_in_words(given))
    if error is not None:
        raise error


def _purge_options(parser: Parser) -> None:
    _selection_options(parser)
    parser.add_argument("--all", dest="everything", action="store_true", help="All dead letters.")
    parser.add_argument("-y", "--yes", action="store_true", help="Do not ask for confirmation.")
    parser.add_common()


def purge(given: Given) -> None:
    _check_selection(None, given)
    if not given.yes and not _confirms("Purge all dead letters" + _filters_in_words(given) + "?"):
        out.print("nothing was purged")
        return
    with connected(given) as client:
        job_ids = client.purge_dead_letters(queue=given.queue, kind=given.kind, code=given.code, all=given.everything)
    if given.as_json:
        print_json(job_ids)
    else:
        out.print(f"purged {len(job_ids)}")


def _retry_each(client: Client, jobs: list[str]) -> tuple[list[RetriedJob], ClientError | None]:
    """Retry jobs up to the first error. -> (the jobs retried before it, the error)"""
    rows: list[RetriedJob] = []
    for job in jobs:
        try:
            row = client.dead_letter(job)
            rows.append(RetriedJob(job_id=row.id, retried_as=client.retry(job).job_id))
        except ClientError as error:
            return rows, error
    return rows, None


def _check_selection(jobs: list[str] | None, given: Given) -> None:
    """WrongUsage unless the jobs are selected in exactly one way. jobs: None if the
    command takes no job ids."""
    ways = (bool(jobs), any(value is not None for value in (given.queue, given.kind, given.code)), given.everything)
    if sum(ways) != 1:
        named = "name jobs, or " if jobs is not None else ""
        raise WrongUsage(f"{named}choose by --queue, --kind and --code, or use --all")


def _confirms(question: str) -> bool:
    if sys.stdin is None or not sys.stdin.isatty():
        raise WrongUsage("there is no terminal to ask for confirmation: use --yes")
    err.print(f"{question} [y/N]: ", end="")
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _filters_in_words(given: Given) -> str:
    parts = [f" of queue {given.queue}"] if given.queue is not None else []
    parts += [f" of kind {given.kind}"] if given.kind is not None else []
    parts += [f" with code {given.code}"] if given.code is not None else []
    return "".join(parts)


COMMANDS = {
    "dead-letters list": Command(
        "List jobs that failed and were neither retried nor purged, newest first.", _list_options, list_dead_letters
    ),
    "dead-letters show": Command(
        "Show a dead letter: its error, and every attempt with its worker, duration, end and cause.",
        _show_options,
        show,
    ),
    "dead-letters retry": Command(
        "Run dead letters again, each as a new job: the named ones, or all that the options select.",
        _retry_options,
        retry,
    ),
    "dead-letters purge": Command(
        "Take dead letters off the list.\n\n"
        "The failed jobs can still be read, and `headrace retry JOB` still runs one again.",
        _purge_options,
        purge,
    ),
}
