"""watch, events, replay: show the events of a job, live or again."""

import time
from collections.abc import Iterable, Iterator

from shared_schemas.events import StreamEvent
from shared_schemas.job import Job, JobState

from headrace import answer_lines, tables
from headrace.client import Client
from headrace.commands.command import Command, ExitCode, ExitWithCode, Given, Parser, number, whole
from headrace.commands.ctrl_c import interruptible
from headrace.commands.shared import connected, print_end, print_json, print_watch_hint
from headrace.ink import Text
from headrace.job_progress import JobProgress
from headrace.terminal import Terminal, err, out
from headrace.views import readable, view_of

_VERDICTS: dict[bool | None, tuple[str | tuple[str, str], ...]] = {
    True: ("is ", ("identical", "bold green"), " to"),
    False: ("is ", ("different", "bold red"), " from"),
    None: ("cannot be compared: there is no result of",),
}


def _watch_options(parser: Parser) -> None:
    parser.add_job()
    parser.add_common()


def watch(given: Given) -> None:
    with connected(given) as client:
        watch_to_end(client, given.job, as_json=given.as_json)


def watch_to_end(client: Client, job_id: str, *, as_json: bool, title: str | None = None) -> Job:
    """Show the job until it has ended, and print its result. JobFailed, JobCancelled."""
    terminal = err if as_json else out
    waiting = tables.why_waiting(client.status(job_id))
    if waiting is not None:
        terminal.print(f"  waiting {waiting}", "yellow")
    try:
        with interruptible():
            progress = show(client.events(job_id), job_id, terminal, title=title)
    except KeyboardInterrupt:
        print_watch_hint(job_id)
        raise
    return print_end(client.job(job_id), as_json=as_json, is_text_seen=progress.shows_whole_text)


def show(
    happened: Iterable[StreamEvent], job_id: str, terminal: Terminal, *, title: str | None = None, speed: float = 1.0
) -> JobProgress:
    with view_of(job_id, terminal.rich(), title=title, speed=speed) as view:
        for event in happened:
            view.show(event)
    return view.progress


def _events_options(parser: Parser) -> None:
    parser.add_job()
    parser.add_argument("--after", type=whole(0), default=0, help="Number of the last event that you have.")
    parser.add_common()


def events(given: Given) -> None:
    with connected(given) as client:
        for item in client.follow(given.job, after=given.after):
            if given.as_json or item.event is None:
                out.json(item.data)
            else:
                out.print(readable(item.event))


def _replay_options(parser: Parser) -> None:
    parser.add_job()
    parser.add_argument("--speed", type=number(0.01), default=1.0, help="How many times faster than it happened.")
    parser.add_argument("--run", action="store_true", help="Run it again as a new job and compare the results.")
    parser.add_common()


def replay(given: Given) -> None:
    with connected(given) as client:
        if given.run:
            _run_again(client, given.job, as_json=given.as_json)
            return
        happened, speed = client.events(given.job), given.speed
        if client.job(given.job).state.is_terminal:
            happened = at_pace(happened, speed=speed)
        else:
            speed = 1.0
        seen = show(happened, given.job, err if given.as_json else out, speed=speed)
        print_end(client.job(given.job), as_json=given.as_json, is_text_seen=seen.shows_whole_text)


def at_pace(happened: Iterable[StreamEvent], *, speed: float) -> Iterator[StreamEvent]:
    """Yield the events with their original delays, `speed` times faster."""
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
    differs = repeated.replay.differs if repeated.replay is not None else ()
    if as_json:
        outcome = {"job_id": repeated.id, "replay_of": job_id, "identical": identical, "differs": differs}
        print_json(outcome | {"status": repeated.state})
    else:
        if repeated.state is JobState.SUCCEEDED:
            answer_lines.print_result(out, repeated, is_text_seen=seen.shows_whole_text)
        why = f": {', '.join(differs)}" if differs else ""
        out.print(Text.assemble(f"The replay {repeated.id} ", *_VERDICTS[identical], f" {job_id}{why}"))
    if identical is False or repeated.state is not JobState.SUCCEEDED:
        raise ExitWithCode(ExitCode.JOB_FAILED)


COMMANDS = {
    "watch": Command(
        "Show a job live until it ends: progress, loss, log, tokens, result.\n\n"
        "--json prints the finished job, like GET /jobs/JOB. Ctrl-C stops watching, not the job.",
        _watch_options,
        watch,
    ),
    "events": Command(
        "Print a job's events until it has ended, one per line; with --json as stored (NDJSON).",
        _events_options,
        events,
    ),
    "replay": Command(
        "Show a finished job again at its own pace, or run it again (--run).\n\n"
        "A run uses the same spec, seed and model version. The exit code is 1 if its result differs.",
        _replay_options,
        replay,
    ),
}
