"""delete: finished jobs and versions of models."""

from typing import Annotated

import typer

from headrace.client import Client
from headrace.commands.shared import JsonOption, UrlOption, connected, out, print_json
from headrace.connection import DEFAULT_URL
from headrace.errors import ClientError

WhatArgument = Annotated[list[str], typer.Argument(metavar="JOB|NAME@VERSION...", help="Ids of jobs, models.")]


def register(app: typer.Typer) -> None:
    app.command()(delete)


def delete(what: WhatArgument, url: UrlOption = DEFAULT_URL, as_json: JsonOption = False) -> None:
    """Delete finished jobs, with their timelines and results, and versions of models, as wine@3.

    A model stays when the job that made it is deleted. What an unfinished job or an alias needs is not deleted.
    """
    deleted, error = list[str](), None
    with connected(url) as client:
        for name in what:
            try:
                _delete(client, name)
            except ClientError as refused:
                # What was done before it must be told.
                error = refused
                break
            deleted.append(name)
    if as_json:
        print_json(deleted)
    for name in [] if as_json else deleted:
        out.print(f"deleted {name}", markup=False, soft_wrap=True)
    if error is not None:
        raise error


def _delete(client: Client, name: str) -> None:
    model, _, version = name.rpartition("@")
    if not model:
        client.delete_job(name)
    elif version.isascii() and version.isdecimal():
        client.delete_model(model, int(version))
    else:
        raise typer.BadParameter("a model is deleted one version at a time: name it as wine@3")
