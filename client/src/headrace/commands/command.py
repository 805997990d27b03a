"""What a command is, and the options that commands share. Knows no client.

A package adds a command with an entry point of the group `headrace.commands`. Its name is what the
user types, and it points to a Command. headrace-local adds `up`, `demo` and `gc` this way.
"""

import argparse
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from enum import IntEnum
from typing import Any, NamedTuple, NoReturn

from shared_schemas.numbers import is_not_finite, parse_number

from headrace.terminal import err, out

ENTRY_POINTS = "headrace.commands"
# How to call the command line, for hints. uv sets UV in the environment of programs that it runs.
COMMAND = "uv run headrace" if "UV" in os.environ else "headrace"

Given = argparse.Namespace


class Command(NamedTuple):
    """help: one line and, after a blank line, more text for the command's own help. options: adds
    the options to a parser. run: takes the parsed options."""

    help: str
    options: Callable[["Parser"], None]
    run: Callable[[Given], None]


class ExitCode(IntEnum):
    OK = 0
    JOB_FAILED = 1
    USAGE = 2
    NOT_FOUND = 3
    CONFLICT = 4
    UNREACHABLE = 5
    TIMED_OUT = 6
    INTERNAL = 7
    INTERRUPTED = 130


class ExitWithCode(Exception):
    """Ends the command with this exit code. Nothing more is printed."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class WrongUsage(Exception):
    """The options are wrong, and nothing was sent. Reported with the usage of the command."""


class Parser(argparse.ArgumentParser):
    """Parses the options of one command."""

    def __init__(self, name: str, command: Command) -> None:
        summary, _, rest = command.help.partition("\n\n")
        super().__init__(
            prog=f"headrace {name}",
            description=f"{summary}\n\n{rest}" if rest else summary,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
            add_help=False,
        )
        self._optionals.title = "options"
        self._positionals.title = "arguments"
        command.options(self)
        self.add_argument("-h", "--help", action="help", help="Show this and exit.")

    def parse(self, arguments: Sequence[str]) -> Given:
        """Parse options, which may come before, between and after arguments."""
        return self.parse_intermixed_args(arguments)

    def _print_message(self, message: str, file: Any = None) -> None:
        # argparse itself ignores an output that cannot be written.
        (err if file is sys.stderr else out).print(message, end="")

    def option_strings(self) -> list[str]:
        return [option for action in self._actions for option in action.option_strings]

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(ExitCode.USAGE, f"{self.prog}: error: {message}\n")

    def add_job(self) -> None:
        self.add_argument("job", metavar="JOB", help="Job id.")

    def add_common(self) -> None:
        self.add_argument("--url", help="URL of the gateway. Default: HEADRACE_URL, or a profile.")
        self.add_argument("--profile", help="Profile in headrace/config.toml. Default: HEADRACE_PROFILE.")
        self.add_argument(
            "--json", dest="as_json", action="store_true", help="Print JSON to stdout and all else to stderr."
        )


class Several(argparse.Action):
    """An option that may be repeated. If its values are known, several can be given with commas."""

    def __call__(self, parser: Any, namespace: Given, values: Any, option: str | None = None) -> None:
        known = getattr(self, "known", None)
        given = [value.strip() for value in values.split(",")] if known is not None else [values]
        for value in given:
            if known is not None and value not in known:
                raise argparse.ArgumentError(self, f"{value!r} is unknown; use one of {', '.join(known)}")
        setattr(namespace, self.dest, [*(getattr(namespace, self.dest) or []), *given])


def several_of(known: Iterable[str]) -> type[Several]:
    return type("SeveralOf", (Several,), {"known": tuple(known)})


def one_of(known: Iterable[str]) -> Callable[[str], str]:
    """A type of argument that takes only the known values. Its error lists them."""
    names = tuple(known)

    def read(text: str) -> str:
        if text not in names:
            raise argparse.ArgumentTypeError(f"{text!r} is unknown; use one of {', '.join(names)}")
        return text

    return read


def whole(least: int = 0, most: int | None = None) -> Callable[[str], int]:
    def read(text: str) -> int:
        try:
            value = int(text) if parse_number(text) is not None else None
        except ValueError:
            value = None
        if value is None:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number")
        _check_within(value, least, most)
        return value

    return read


def number(least: float = 0.0) -> Callable[[str], float]:
    def read(text: str) -> float:
        value = float(text) if is_not_finite(text) else parse_number(text)
        if value is None:
            raise argparse.ArgumentTypeError(f"{text!r} is not a number")
        _check_within(value, least, None)
        return value

    return read


def _check_within(value: float, least: float, most: float | None) -> None:
    # NaN fails every comparison, so this refuses it as well.
    if not value >= least or (most is not None and value > most):
        span = f"at least {least}" if most is None else f"from {least} to {most}"
        raise argparse.ArgumentTypeError(f"{value} is not {span}")
