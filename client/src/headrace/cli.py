"""The `headrace` command line: finds the command, runs it, and turns errors into exit codes.

Imports only what the command needs, because imports take most of the time of a short command. Knows
no single command.
"""

import gc
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING

from headrace.commands import ENTRIES, EXIT_CODES, FROM_LOCAL, SECTIONS

if TYPE_CHECKING:
    from headrace.commands.command import Command

_ABOUT = "Training and inference jobs on Redis Streams: submit them, watch them live, replay them."
_USAGE = 2
_INTERRUPTED = 130
_PIPE_CLOSED = 141
_INTERNAL = 7


def main(arguments: Sequence[str] | None = None, *, entry_point_group: str | None = None) -> None:
    """Run a command, and end the process with its exit code."""
    from headrace.terminal import prepare

    # Objects made by imports stay alive. Collecting garbage among them would take a tenth of
    # the time of a short command.
    gc.disable()
    prepare()
    try:
        try:
            code = run(list(sys.argv[1:] if arguments is None else arguments), entry_point_group)
        except SystemExit as end:  # raised by argparse after help or wrong usage
            code = end.code if isinstance(end.code, int) else _USAGE
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
    except BrokenPipeError:
        _drop_output()
        code = _PIPE_CLOSED
    except OSError as error:
        _drop_output()
        _say(f"error: the output cannot be written: {error.strerror}")
        code = _INTERNAL
    except KeyboardInterrupt:
        code = _INTERRUPTED
    sys.exit(code)


def run(arguments: list[str], entry_point_group: str | None = None) -> int:
    """-> exit code. argparse raises SystemExit: with 2 for wrong usage, with 0 for help."""
    group = entry_point_group or "headrace.commands"
    match arguments:
        case []:
            _print_help(group)
            return _USAGE
        case ["-h" | "--help" | "help", *rest]:
            return run([*rest, "--help"], group) if rest else _print_help(group)
        case ["-V" | "--version", *_]:
            return _print_version()
        case ["completion", *rest]:
            from headrace.commands.completion import complete

            return complete(rest)
    names = {entry.name for entry in ENTRIES}
    group_of = {name.partition(" ")[0] for name in names if " " in name}
    if arguments[0] in group_of:
        if len(arguments) == 1 or arguments[1] in ("-h", "--help"):
            _print_group(arguments[0])
            return _USAGE if len(arguments) == 1 else 0
        name, rest = " ".join(arguments[:2]), arguments[2:]
    else:
        name, rest = arguments[0], arguments[1:]
    command = find(name, group)
    if command is None:
        return _unknown(name, group)
    return _run_command(name, command, rest)


def find(name: str, entry_point_group: str) -> "Command | None":
    for entry in ENTRIES:
        if entry.name == name:
            command: Command = import_module(entry.module).COMMANDS[name]
            return command
    from importlib.metadata import entry_points

    for point in entry_points(group=entry_point_group, name=name):
        added: Command = point.load()
        return added
    return None


def _run_command(name: str, command: "Command", arguments: list[str]) -> int:
    from headrace.commands.command import ExitWithCode, Parser, WrongUsage

    parser = Parser(name, command)
    given = parser.parse(arguments)
    # Imported after the options are known to be right. A command that uses a
    # gateway has imported it already.
    from headrace.errors import ClientError

    gc.freeze()
    gc.enable()
    try:
        command.run(given)
    except ExitWithCode as end:
        return end.code
    except WrongUsage as error:
        parser.error(str(error))
    except ClientError as error:
        from headrace.commands.shared import exit_code_of, report

        report(error)
        return int(exit_code_of(error))
    return 0


def _print_help(entry_point_group: str) -> int:
    lines = ["Usage: headrace COMMAND …", "", _ABOUT]
    plugged = _plugged(entry_point_group)
    width = max(len(name) for name in [*(entry.name for entry in ENTRIES), *plugged]) + 2
    for section in SECTIONS:
        shown = {entry.name: entry.help for entry in ENTRIES if entry.section == section}
        if section == "On this machine":
            shown = plugged
        lines += ["", f"{section}:", *(f"  {name:<{width}}{text}" for name, text in shown.items())]
    lines += [
        "",
        "Options:",
        f"  {'-h, --help':<{width}}Show this and exit; after a command, its options.",
        f"  {'-V, --version':<{width}}Show the version and exit.",
        f"  {'completion SHELL':<{width}}Print a completion script for bash, zsh or fish.",
        "",
        EXIT_CODES.rstrip(),
    ]
    from headrace.terminal import out

    out.print("\n".join(lines))
    return 0


def _print_group(name: str) -> None:
    from headrace.terminal import out

    shown = {entry.name: entry.help for entry in ENTRIES if entry.name.startswith(f"{name} ")}
    width = max(map(len, shown)) + 2
    out.print(
        "\n".join(
            [
                f"Usage: headrace {name} COMMAND …", "", *(f"  {each:<{width}}{text}" for each, text in shown.items()),
                "", "`--help` after one of them shows its options.",
            ]
        )
    )  # fmt: skip


def _plugged(entry_point_group: str) -> dict[str, str]:
    """-> name and help of the commands of other packages, and of those of headrace-local even
    if it is not installed"""
    from importlib.metadata import entry_points

    names = sorted({point.name for point in entry_points(group=entry_point_group)} - FROM_LOCAL.keys())
    found = {name: find(name, entry_point_group) for name in names}
    return FROM_LOCAL | {name: command.help.partition("\n")[0] for name, command in found.items() if command}


def _unknown(name: str, entry_point_group: str) -> int:
    if name in FROM_LOCAL:
        _say(f"`headrace {name}` comes with headrace-local: pip install headrace-local")
        return _USAGE
    from difflib import get_close_matches

    first = name.partition(" ")[0]
    below = [entry.name for entry in ENTRIES if entry.name.startswith(f"{first} ")]
    known = below or [*dict.fromkeys(entry.name for entry in ENTRIES), *_plugged(entry_point_group)]
    close = get_close_matches(name, known, n=1)
    if name.startswith("-"):
        _say(f"headrace: error: options go after a command: headrace COMMAND {name.partition(' ')[0]} …")
    else:
        _say(f"headrace: error: there is no command {name!r}" + (f"; is it {close[0]!r}?" if close else ""))
    _say(f"The commands are {', '.join(known)}.")
    return _USAGE


def _print_version() -> int:
    from importlib.metadata import version

    from headrace.terminal import out

    out.print(f"headrace {version('headrace-client')}")
    return 0


def _say(line: str) -> None:
    from headrace.terminal import err

    err.print(line)


def _drop_output() -> None:
    """Send what is left to /dev/null. Otherwise Python would flush it at exit, and fail again."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except OSError:
            os.dup2(nothing, stream.fileno())


if __name__ == "__main__":
    main()
