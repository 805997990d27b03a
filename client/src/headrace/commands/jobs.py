"""status, attempts, result, list, cancel, pause, resume, retry: one request
about one job or many."""

import argparse
from collections.abc import Callable
from itertools import islice

from shared_schemas.job import JobState
from shared_schemas.kinds import JobKind
from shared_schemas.replies import JobStatus, Submitted

from headrace import tables
from headrace.client import Client
from headrace.commands.command import COMMAND, Command, Given, Parser, number, one_of, several_of, whole
from headrace.commands.shared import connected, print_end, print_json
from headrace.ink import Text
from headrace.terminal import out


def _job_options(parser: Parser) -> None:
    parser.add_job()
    parser.add_common()


def status(given: Given) -> None:
    with connected(given) as client:
        _print_status(client.status(given.job), as_json=given.as_json)


def attempts(given: Given) -> None:
    with connected(given) as client:
        rows = client.attempts(given.job)
    if given.as_json:
        print_json(rows)
    elif rows:
        out.print(tables.attempts(rows))
    else:
        out.print("no attempts yet")


def _result_options(parser: Parser) -> None:
    parser.add_job()
    parser.add_argument(
        "--wait", action=argparse.BooleanOptionalAction, default=True, help="Wait until the job has ended."
    )
    parser.add_argument("--timeout", type=number(0.0), metavar="SECONDS", help="Wait at most this long.")
    parser.add_common()


def result(given: Given) -> None:
    with connected(given) as client:
        job = client.wait(given.job, timeout_s=given.timeout if given.wait else 0.0)
    print_end(job, as_json=given.as_json)


def _list_options(parser: Parser) -> None:
    parser.add_argument("--kind", type=one_of(JobKind), help=f"Only jobs of this kind: {' or '.join(JobKind)}.")
    parser.add_argument(
        "--state",
        "--status",
        dest="states",
        action=several_of(JobState),
        help=f"Only these states; repeat it, or separate with commas: {', '.join(JobState)}.",
    )
    parser.add_argument("--queue", help="Only jobs of this queue.")
    parser.add_argument("--tag", help="Only jobs with this tag.")
    parser.add_argument("-n", "--limit", type=whole(1), default=20, help="How many to list, newest first (20).")
    parser.add_common()


def list_jobs(given: Given) -> None:
    with connected(given) as client:
        found = client.list(
            kind=given.kind,
            states=given.states or (),
            queue=given.queue,
            tag=given.tag,
            page_size=min(given.limit, 100),
        )
        rows = list(islice(found, given.limit))
    if given.as_json:
        print_json(rows)
    elif rows:
        out.print(tables.jobs(rows))
    else:
        out.print("no jobs")


def _changing(verb: Callable[[Client, str], JobStatus]) -> Callable[[Given], None]:
    def run(given: Given) -> None:
        with connected(given) as client:
            _print_status(verb(client, given.job), as_json=given.as_json)

    return run


def retry(given: Given) -> None:
    with connected(given) as client:
        print_submitted(client.retry(given.job), as_json=given.as_json)


def print_submitted(reply: Submitted, *, as_json: bool) -> None:
    if as_json:
        print_json(reply)
        return
    out.print(Text.assemble((reply.job_id, "bold"), f"  {reply.status.value}"))
    out.print(f"  {COMMAND} watch {reply.job_id}", "dim")


def _print_status(row: JobStatus, *, as_json: bool) -> None:
    if as_json:
        print_json(row)
    else:
        out.print(tables.status(row))


COMMANDS = {
    "list": Command("List jobs, newest first.", _list_options, list_jobs),
    "status": Command("Show a job's state and progress now.", _job_options, status),
    "attempts": Command("List a job's attempts: worker, start, duration, how it ended.", _job_options, attempts),
    "result": Command(
        "Print a job's result, once it has ended.\n\n--json prints the whole job.", _result_options, result
    ),
    "cancel": Command(
        "Cancel a job. A running job is asked to end; `watch` shows when it has.",
        _job_options,
        _changing(Client.cancel),
    ),
    "pause": Command(
        "Pause a job until `resume`. A running training job saves a checkpoint first.",
        _job_options,
        _changing(Client.pause),
    ),
    "resume": Command("Continue a paused job.", _job_options, _changing(Client.resume)),
    "retry": Command("Submit a failed or cancelled job again, as a new job.", _job_options, retry),
}
