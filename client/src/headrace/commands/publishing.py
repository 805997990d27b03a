"""publish, download: files of models, to and from the gateway."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
from shared_schemas.kinds import JobKind

from headrace.client import Client
from headrace.commands.command import Command, Given, Parser, Several, WrongUsage
from headrace.commands.shared import connected, print_json
from headrace.terminal import err, out
from headrace.transfers import OnProgress, Publication


def _publish_options(parser: Parser) -> None:
    add = parser.add_argument
    add("file", metavar="FILE", help="An ONNX file.")
    add("--name", required=True, metavar="NAME", help="Publish it under this name.")
    add("--task", help="What the model does; tensors if nothing else is said.")
    add("--label", metavar="NAME", action=Several, help="A class, in the order of the outputs; repeat for several.")
    add("--feature", metavar="NAME", action=Several, help="A column, in the order of the inputs; repeat for several.")
    add("--tokenizer", metavar="FILE", help="A tokenizer.json.")
    add("--batch-axis", metavar="NAME", help="The dimension along which inputs may share a run.")
    add("--manifest", metavar="FILE", help="JSON with all that the file does not show. Options win over it.")
    add("--no-wait", action="store_true", help="Print the id of the job, and do not wait for its end.")
    parser.add_common()


def publish(given: Given) -> None:
    from headrace.commands.following import watch_to_end
    from headrace.commands.jobs import print_submitted

    fields = {
        "task": given.task,
        "labels": given.label,
        "features": given.feature,
        "tokenizer": given.tokenizer,
        "batch_axis": given.batch_axis,
    }
    publication = Publication(given.file, _manifest(given), fields)
    with connected(given) as client:
        refs = {field: _upload(client, file) for field, file in publication.files.items()}
        reply = client.submit(JobKind.PUBLISHING, publication.spec(given.name, refs))
        if given.no_wait:
            print_submitted(reply, as_json=given.as_json)
        else:
            watch_to_end(client, reply.job_id, as_json=given.as_json, title=given.name)


def _upload(client: Client, file: Any) -> Any:
    with _bar(f"uploading {Path(file).name}") as on_progress:
        return client.upload(file, on_progress=on_progress)


def _manifest(given: Given) -> dict[str, Any]:
    """A file that the manifest names is looked for beside it."""
    if given.manifest is None:
        # The other options need a task, and this is the task of a model without them.
        return {"task": "tensors"}
    path = Path(given.manifest)
    try:
        manifest = msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
    except OSError as error:
        raise WrongUsage(f"--manifest {given.manifest}: {error.strerror}") from None
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise WrongUsage(f"--manifest {given.manifest} is not a JSON object: {error}") from None
    tokenizer = manifest.get("tokenizer")
    return manifest | ({"tokenizer": str(path.parent / tokenizer)} if isinstance(tokenizer, str) else {})


def _download_options(parser: Parser) -> None:
    parser.add_argument("model", metavar="MODEL", help="name, name@version or name@alias.")
    parser.add_argument("-o", "--output", metavar="FILE", help="A file or a folder. Default: name-version.onnx.")
    parser.add_common()


def download(given: Given) -> None:
    name, _, version = given.model.partition("@")
    with connected(given) as client, _bar(f"downloading {given.model}") as on_progress:
        path = client.download(name, given.output, version=version or "latest", on_progress=on_progress)
    if given.as_json:
        print_json({"path": str(path), "n_bytes": path.stat().st_size})
    else:
        out.print(str(path))


@contextmanager
def _bar(title: str) -> Iterator[OnProgress | None]:
    """Draws a bar on a terminal, and nothing elsewhere."""
    if not err.is_terminal:
        yield None
        return
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("  {task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err.rich(), transient=True) as progress:
        task = progress.add_task(title, total=None)
        yield lambda n_done, n_bytes: progress.update(task, completed=n_done, total=n_bytes)


COMMANDS = {
    "publish": Command(
        "Publish an ONNX file as a model: upload it, and watch how it is checked.\n\n"
        "  headrace publish model.onnx --name mine\n\n"
        "An upload that broke goes on where it ended when the command runs again. The job goes on after Ctrl-C.",
        _publish_options,
        publish,
    ),
    "download": Command(
        "Download the ONNX file of a model, and print its path.\n\n"
        "A download that broke goes on where it ended when the command runs again.",
        _download_options,
        download,
    ),
}
