"""The `headrace` command line: wires the commands together and turns errors into exit codes.

A package may add commands by an entry point of the group `headrace.commands`: a function that is given the
typer app. `up` and `demo` come that way, from headrace-local.
"""

import sys
from importlib.metadata import entry_points

import typer

from headrace.commands import dead_letters, deleting, following, inspecting, jobs, submitting
from headrace.commands.shared import EXIT_CODES, ExitCode, err, exit_code_of, report
from headrace.errors import ClientError

_ENTRY_POINTS = "headrace.commands"
_FROM_LOCAL = {
    "up": "Run the whole system on this machine (needs headrace-local).",
    "demo": "Train, serve and watch a model on this machine (needs headrace-local).",
}


def build(*, entry_point_group: str = _ENTRY_POINTS) -> typer.Typer:
    app = typer.Typer(
        name="headrace",
        help="Training and inference jobs on Redis Streams: submit them, watch them live, replay them.",
        epilog=EXIT_CODES,
        no_args_is_help=True,
        add_completion=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    submitting.register(app)
    following.register(app)
    jobs.register(app)
    inspecting.register(app)
    dead_letters.register(app)
    deleting.register(app)
    for entry_point in entry_points(group=entry_point_group):
        entry_point.load()(app)
    present = {command.name or getattr(command.callback, "__name__", "") for command in app.registered_commands}
    for name, help_text in _FROM_LOCAL.items():
        if name not in present:
            _add_hint(app, name, help_text)
    return app


def main() -> None:
    try:
        build()()
    except ClientError as error:
        report(error)
        sys.exit(exit_code_of(error))
    except KeyboardInterrupt:
        sys.exit(ExitCode.INTERRUPTED)


def _add_hint(app: typer.Typer, name: str, help_text: str) -> None:
    @app.command(name, help=help_text, context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
    def hint() -> None:
        err.print(f"`headrace {name}` comes with headrace-local: pip install headrace-local", soft_wrap=True)
        raise typer.Exit(ExitCode.USAGE)


if __name__ == "__main__":
    main()
