"""The two outputs of the command line, whatever they lead to: a terminal, a pipe, a file, nothing.

A character that the output cannot hold is replaced, never an error. Colours are for terminals that want them (NO_COLOR,
FORCE_COLOR, TERM=dumb).
"""

import codecs
import os
import re
import sys
from typing import TYPE_CHECKING, Literal, TextIO

from headrace.ink import Drawable, Text

if TYPE_CHECKING:
    from rich.console import Console

# A pipe has no width: tables are as wide as they are.
_PIPE_WIDTH = 240
_LEAST_WIDTH = 20
_IN_ASCII = {
    "·": "-", "→": ">", "…": ".", "●": "*", "▌": "_", "│": "|", "✓": "+", "✗": "x", "─": "-", "━": "=", "╸": "-",
    "╺": "-", "—": "-", "“": '"', "”": '"', "\N{EN DASH}": "-", "\N{RIGHT SINGLE QUOTATION MARK}": "'",
}  # fmt: skip
_NOT_ASCII = re.compile(r"[^\x00-\x7f]")


def prepare() -> None:
    """Both outputs replace what they cannot hold, those that rich writes to as well."""
    codecs.register_error("headrace", _replaced)
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="headrace")


class Terminal:
    def __init__(self, name: Literal["stdout", "stderr"]) -> None:
        self._name = name

    @property
    def stream(self) -> TextIO | None:
        """None where the process was started without one."""
        stream: TextIO | None = getattr(sys, self._name)
        return stream

    @property
    def is_terminal(self) -> bool:
        return self.stream is not None and self.stream.isatty()

    @property
    def has_colours(self) -> bool:
        if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
            return False
        return self.is_terminal or bool(os.environ.get("FORCE_COLOR"))

    @property
    def width(self) -> int:
        if self.stream is None or not self.is_terminal:
            return _PIPE_WIDTH
        said = os.environ.get("COLUMNS", "")
        try:
            columns = int(said) if said.isdecimal() else os.get_terminal_size(self.stream.fileno()).columns
        except OSError:
            columns = 80
        return max(_LEAST_WIDTH, columns or 80)

    def print(self, what: str | Drawable = "", style: str = "", *, end: str = "\n") -> None:
        """A text, or what has lines."""
        if self.stream is None:
            return
        drawable = Text(what, style) if isinstance(what, str) else what
        with_styles = self.has_colours
        lines = [line.drawn(with_styles=with_styles).rstrip(" ") for line in drawable.lines(self.width)]
        self.stream.write("\n".join(lines) + end)
        self.stream.flush()

    def json(self, text: str) -> None:
        """JSON is UTF-8; where the output is not, escapes say the same."""
        if self.stream is None:
            return
        if codecs.lookup(self.stream.encoding or "ascii").name != "utf-8":
            text = _NOT_ASCII.sub(_escaped, text)
        self.stream.write(text + "\n")
        self.stream.flush()

    def rich(self) -> "Console":
        """For what is redrawn in place."""
        from rich.console import Console

        console = Console(file=self.stream, highlight=False, stderr=self._name == "stderr")
        if not console.is_terminal:
            console.width = _PIPE_WIDTH
        return console


out = Terminal("stdout")
err = Terminal("stderr")


def _replaced(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(_IN_ASCII.get(char, "?") for char in error.object[error.start : error.end]), error.end


def _escaped(match: "re.Match[str]") -> str:
    units = match[0].encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[i]:02x}{units[i + 1]:02x}" for i in range(0, len(units), 2))
