"""completion: prints a script with which a shell completes commands and options.

Imports every command to find its options.
"""

from collections.abc import Sequence

from headrace.cli import find
from headrace.commands import ENTRIES, FROM_LOCAL
from headrace.commands.command import ENTRY_POINTS, ExitCode, Parser
from headrace.terminal import err, out

_HOW = {
    "bash": 'eval "$(headrace completion bash)", in ~/.bashrc',
    "zsh": 'eval "$(headrace completion zsh)", in ~/.zshrc after compinit',
    "fish": "headrace completion fish > ~/.config/fish/completions/headrace.fish",
}
_BASH = """\
_headrace() {
  local words=("${COMP_WORDS[@]:1:COMP_CWORD-1}") typed="${COMP_WORDS[COMP_CWORD]}" known=
  case "${words[0]} ${words[1]}" in
@CASES@
    *) [ ${#words[@]} -eq 0 ] && known="@FIRST@" ;;
  esac
  if [ -z "$known" ]; then COMPREPLY=($(compgen -f -- "$typed"))
  else COMPREPLY=($(compgen -W "$known" -- "$typed")); fi
}
complete -o filenames -F _headrace headrace
"""


def complete(arguments: Sequence[str]) -> int:
    """-> exit code."""
    match list(arguments):
        case ["bash"]:
            out.print(_bash())
        case ["zsh"]:
            out.print("autoload -U +X bashcompinit && bashcompinit\n" + _bash())
        case ["fish"]:
            out.print(_fish())
        case _:
            terminal, code = (out, ExitCode.OK) if "--help" in arguments or "-h" in arguments else (err, ExitCode.USAGE)
            terminal.print("usage: headrace completion SHELL")
            for shell, how in _HOW.items():
                terminal.print(f"  {shell:<6}{how}")
            return code
    return ExitCode.OK


def _options() -> dict[str, list[str]]:
    """-> the options of each command"""
    found = {}
    for name in [*(entry.name for entry in ENTRIES), *FROM_LOCAL]:
        command = find(name, ENTRY_POINTS)
        if command is not None:
            found[name] = [option for option in Parser(name, command).option_strings() if option.startswith("--")]
    return found


def _groups() -> dict[str, list[str]]:
    """-> the second words of each first word"""
    groups: dict[str, list[str]] = {}
    for entry in ENTRIES:
        first, _, second = entry.name.partition(" ")
        if second:
            groups.setdefault(first, []).append(second)
    return groups


def _first_words() -> list[str]:
    words = [*(entry.name.partition(" ")[0] for entry in ENTRIES), *FROM_LOCAL, "completion", "--help", "--version"]
    return list(dict.fromkeys(words))


def _bash() -> str:
    cases = [f'    "{name}"*) known="{" ".join(options)}" ;;' for name, options in _options().items()]
    cases += [f'    "{first} "*) known="{" ".join(second)}" ;;' for first, second in _groups().items()]
    return _BASH.replace("@CASES@", "\n".join(cases)).replace("@FIRST@", " ".join(_first_words()))


def _fish() -> str:
    lines = ["complete -c headrace -f"]
    lines.append(f"complete -c headrace -n __fish_use_subcommand -a '{' '.join(_first_words())}'")
    for first, second in _groups().items():
        lines.append(f"complete -c headrace -n '__fish_seen_subcommand_from {first}' -a '{' '.join(second)}'")
    for name, options in _options().items():
        words = " ; and ".join(f"__fish_seen_subcommand_from {word}" for word in name.split())
        lines += [f"complete -c headrace -n '{words}' -l {option.removeprefix('--')}" for option in options]
    return "\n".join(lines)
