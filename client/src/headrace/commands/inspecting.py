"""models, queues, workers: the system rather than one job."""

from typing import Annotated

import typer

from headrace import tables
from headrace.commands.shared import COMMAND, JsonOption, UrlOption, connected, out, print_json
from headrace.connection import DEFAULT_URL


def register(app: typer.Typer) -> None:
    for command in (models, queues, workers):
        app.command()(command)


def models(
    name: Annotated[str | None, typer.Argument(help="Every version of this model.")] = None,
    url: UrlOption = DEFAULT_URL,
    as_json: JsonOption = False,
) -> None:
    """Published models, the newest version of each."""
    with connected(url) as client:
        rows = list(client.models()) if name is None else list(client.model(name))
    if as_json:
        print_json(rows)
    elif rows:
        out.print(tables.models(rows))
    else:
        out.print(f"no models yet: {COMMAND} submit training mlp wine.csv")


def queues(url: UrlOption = DEFAULT_URL, as_json: JsonOption = False) -> None:
    """Queues: how many jobs are in each state, and who serves them."""
    with connected(url) as client:
        rows = client.queues()
    if as_json:
        print_json(rows)
    else:
        out.print(tables.queues(rows))


def workers(url: UrlOption = DEFAULT_URL, as_json: JsonOption = False) -> None:
    """Registered workers and what they run."""
    with connected(url) as client:
        rows = client.workers()
    if as_json:
        print_json(rows)
    elif rows:
        out.print(tables.workers(rows))
    else:
        out.print("no workers")
