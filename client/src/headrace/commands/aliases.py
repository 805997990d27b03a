"""alias set, alias delete: names for versions of models."""

from headrace.commands.command import Command, Given, Parser, WrongUsage
from headrace.commands.shared import connected, print_json
from headrace.terminal import out


def _set_options(parser: Parser) -> None:
    parser.add_argument("version", metavar="NAME@VERSION", help="A version of a model, such as wine@3.")
    parser.add_argument("alias", metavar="ALIAS", help="Such as prod: then wine@prod names this version.")
    parser.add_argument(
        "--at-once", action="store_true", help="Do not wait until the workers of the model have loaded this version."
    )
    parser.add_common()


def set_alias(given: Given) -> None:
    name, version = _parts(given.version)
    if not (version.isascii() and version.isdecimal()):
        raise WrongUsage("an alias names a version by its number, such as wine@3")
    with connected(given) as client:
        model = client.set_alias(name, given.alias, int(version), warm=not given.at_once)
    if given.as_json:
        print_json(model)
    else:
        out.print(f"{name}@{given.alias} is {model.ref}")


def _delete_options(parser: Parser) -> None:
    parser.add_argument("alias", metavar="NAME@ALIAS", help="Such as wine@prod. The version stays.")
    parser.add_common()


def delete_alias(given: Given) -> None:
    name, alias = _parts(given.alias)
    with connected(given) as client:
        client.delete_alias(name, alias)
    if given.as_json:
        print_json(given.alias)
    else:
        out.print(f"deleted the alias {given.alias}")


def _parts(reference: str) -> tuple[str, str]:
    name, _, rest = reference.rpartition("@")
    if not name or not rest:
        raise WrongUsage("name the model and what follows @, such as wine@3 or wine@prod")
    return name, rest


COMMANDS = {
    "alias set": Command(
        "Let an alias name a version of a model: wine@prod, say. It moves if it exists already.",
        _set_options,
        set_alias,
    ),
    "alias delete": Command(
        "Delete an alias of a model. The version that it named stays.", _delete_options, delete_alias
    ),
}
