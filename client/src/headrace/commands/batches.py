"""batch submit, status, output, errors, cancel: many inference jobs from one file of JSON lines."""

import sys
from pathlib import Path

from shared_schemas.batches import Batch, BatchResult
from shared_schemas.codec import encode_json

from headrace.commands.command import COMMAND, Command, Given, Parser, WrongUsage
from headrace.commands.shared import connected, print_json
from headrace.terminal import out


def _submit_options(parser: Parser) -> None:
    parser.add_argument("file", metavar="FILE", help="JSON lines, each with custom_id and body; - for stdin.")
    parser.add_argument("--queue", help="A queue of inference jobs. Default: inference.")
    parser.add_argument("--key", help="Idempotency key: with it, an interrupted batch goes on where it stopped.")
    parser.add_common()


def submit(given: Given) -> None:
    try:
        content = sys.stdin.buffer.read() if given.file == "-" else Path(given.file).read_bytes()
    except OSError as error:
        raise WrongUsage(f"{given.file} cannot be read: {error.strerror}") from None
    with connected(given) as client:
        batch = client.submit_batch(content, queue=given.queue, idempotency_key=given.key)
    _show(batch, given)
    if not given.as_json:
        out.print(f"\n  {COMMAND} batch output {batch.batch_id}", "dim")


def _batch_options(parser: Parser) -> None:
    parser.add_argument("batch", metavar="BATCH", help="Batch id.")
    parser.add_common()


def status(given: Given) -> None:
    with connected(given) as client:
        _show(client.batch(given.batch), given)


def cancel(given: Given) -> None:
    with connected(given) as client:
        _show(client.cancel_batch(given.batch), given)


def output(given: Given) -> None:
    with connected(given) as client:
        _print_lines(client.batch_output(given.batch))


def errors(given: Given) -> None:
    with connected(given) as client:
        _print_lines(client.batch_errors(given.batch))


def list_batches(given: Given) -> None:
    with connected(given) as client:
        batches = client.batches()
    if given.as_json:
        print_json(batches)
    elif not batches:
        out.print("no batches")
    else:
        for batch in batches:
            out.print(f"{batch.batch_id}  {_in_words(batch)}")


def _show(batch: Batch, given: Given) -> None:
    if given.as_json:
        print_json(batch)
    else:
        out.print(f"{batch.batch_id}\n{_in_words(batch)}")


def _in_words(batch: Batch) -> str:
    parts = [f"{n} {state}" for state, n in batch.jobs.items() if n]
    parts += [f"{batch.n_invalid} invalid"] if batch.n_invalid else []
    return f"{batch.status}: {batch.n_lines} lines" + (f" ({', '.join(parts)})" if parts else "")


def _print_lines(results: tuple[BatchResult, ...]) -> None:
    """Always JSON lines, so that they can be sent to a file."""
    for result in results:
        out.json(encode_json(result).decode())


COMMANDS = {
    "batch submit": Command(
        "Submit each line of a file as an inference job.\n\n"
        'A line is {"custom_id": "…", "body": {"model_id": "…", "input_data": …}}.',
        _submit_options,
        submit,
    ),
    "batch list": Command("List the newest batches.", Parser.add_common, list_batches),
    "batch status": Command("Show how far a batch is.", _batch_options, status),
    "batch output": Command("Print the results of a batch so far, as JSON lines.", _batch_options, output),
    "batch errors": Command(
        "Print the lines of a batch that are no jobs, and its jobs that failed, as JSON lines.",
        _batch_options,
        errors,
    ),
    "batch cancel": Command("Cancel all jobs of a batch that have not ended.", _batch_options, cancel),
}
