"""stdout and stderr of the command line, which can be a terminal, a pipe, a file, or missing.

A character that the encoding does not have is replaced. Colours are used on terminals, and as
NO_COLOR, FORCE_COLOR and TERM=dumb say. Knows no jobs.
"""

import codecs
import os
import re
import sys
from typing import TYPE_CHECKING, Literal, TextIO

from headrace.ink import Drawable, Text

if TYPE_CHECKING:
    from rich.console import Console

# A pipe has no width. This is wide enough for a whole table.
_PIPE_WIDTH = 240
_LEAST_WIDTH = 20
_IN_ASCII = {
    "·": "-", "→": ">", "…": ".", "●": "*", "▌": "_", "│": "|", "✓": "+", "✗": "x", "─": "-", "━": "=", "╸": "-",
    "╺": "-", "—": "-", "“": '"', "”": '"', "\N{EN DASH}": "-", "\N{RIGHT SINGLE QUOTATION MARK}": "'",
}  # fmt: skip
_NOT_ASCII = re.compile(r"[^\x00-\x7f]")


def prepare() -> None:
    """Make both outputs replace characters that they cannot encode. This also
    covers what rich writes."""
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
        """None if the process was started without it."""
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
        from_environ = os.environ.get("COLUMNS", "")
        try:
            columns = (
                int(from_environ) if from_environ.isdecimal() else os.get_terminal_size(self.stream.fileno()).columns
            )
        except OSError:
            columns = 80
        return max(_LEAST_WIDTH, columns or 80)

    def print(self, what: str | Drawable = "", style: str = "", *, end: str = "\n") -> None:
        """Print a text or a Drawable."""
        if self.stream is None:
            return
        drawable = Text(what, style) if isinstance(what, str) else what
        with_styles = self.has_colours
        lines = [line.drawn(with_styles=with_styles).rstrip(" ") for line in drawable.lines(self.width)]
        self.stream.write("\n".join(lines) + end)
        self.stream.flush()

    def json(self, text: str) -> None:
        """Print JSON. If the encoding is not UTF-8, other characters than ASCII are escaped."""
        if self.stream is None:
            return
        if codecs.lookup(self.stream.encoding or "ascii").name != "utf-8":
            text = _NOT_ASCII.sub(_escaped, text)
        self.stream.write(text + "\n")
        self.stream.flush()

    def rich(self) -> "Console":
        """A console for views that are redrawn in place."""
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
