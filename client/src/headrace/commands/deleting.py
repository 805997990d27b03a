"""delete: removes finished jobs and versions of models."""

from headrace.client import Client
from headrace.commands.command import Command, Given, Parser, WrongUsage
from headrace.commands.shared import connected, print_json
from headrace.errors import ClientError
from headrace.terminal import out


def _options(parser: Parser) -> None:
    parser.add_argument("what", nargs="+", metavar="JOB|NAME@VERSION", help="Job ids, or versions of models.")
    parser.add_common()


def delete(given: Given) -> None:
    deleted: list[str] = []
    error: ClientError | WrongUsage | None = None
    with connected(given) as client:
        for name in given.what:
            try:
                _delete(client, name)
            except (ClientError, WrongUsage) as refused:
                # Print first what was deleted before the error.
                error = refused
                break
            deleted.append(name)
    if given.as_json and (deleted or not isinstance(error, WrongUsage)):
        print_json(deleted)
    for name in [] if given.as_json else deleted:
        out.print(f"deleted {name}")
    if error is not None:
        raise error


def _delete(client: Client, name: str) -> None:
    model, _, version = name.rpartition("@")
    if not model:
        client.delete_job(name)
    elif version.isascii() and version.isdecimal():
        client.delete_model(model, int(version))
    else:
        raise WrongUsage("a model is deleted one version at a time: name it as wine@3; `alias delete` deletes an alias")


COMMANDS = {
    "delete": Command(
        "Delete finished jobs, with their timelines and results, and versions of models, such as wine@3.\n\n"
        "Deleting a job does not delete the model that it made. What an unfinished job or an alias needs "
        "is not deleted.",
        _options,
        delete,
    )
}
