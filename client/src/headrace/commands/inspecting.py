"""models, recipes, queues, workers: show the system, not single jobs."""

from headrace import tables
from headrace.commands.command import COMMAND, Command, Given, Parser
from headrace.commands.shared import connected, print_json
from headrace.terminal import out


def _models_options(parser: Parser) -> None:
    parser.add_argument("name", nargs="?", metavar="NAME", help="List every version of this model.")
    parser.add_common()


def models(given: Given) -> None:
    with connected(given) as client:
        rows = list(client.models()) if given.name is None else list(client.model(given.name))
    if given.as_json:
        print_json(rows)
    elif rows:
        out.print(tables.models(rows))
    else:
        out.print(f"no models yet: {COMMAND} submit training mlp wine.csv")


def recipes(given: Given) -> None:
    with connected(given) as client:
        rows = client.recipes()
    if given.as_json:
        print_json(rows)
    else:
        out.print(tables.recipes(rows))


def queues(given: Given) -> None:
    with connected(given) as client:
        rows = client.queues()
    if given.as_json:
        print_json(rows)
    else:
        out.print(tables.queues(rows))


def workers(given: Given) -> None:
    with connected(given) as client:
        rows = client.workers()
    if given.as_json:
        print_json(rows)
    elif rows:
        out.print(tables.workers(rows))
    else:
        out.print("no workers")


COMMANDS = {
    "models": Command("List published models, the newest version of each.", _models_options, models),
    "recipes": Command("List recipes and their hyperparameters.", Parser.add_common, recipes),
    "queues": Command("List queues: jobs in each state, and number of workers.", Parser.add_common, queues),
    "workers": Command("List workers and the jobs that they run.", Parser.add_common, workers),
}
