"""Text with styles that knows its width on a terminal. Knows neither jobs nor files.

Has those parts of rich's Text that lines and tables need. Importing rich takes more time than
everything else in a short command, so only views that are redrawn in place (views.py) use it.
"""

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from rich.text import Text as RichText

STATE_STYLES = {
    "scheduled": "yellow",
    "queued": "cyan",
    "running": "blue",
    "paused": "magenta",
    "succeeded": "green",
    "failed": "red",
    "cancelled": "yellow",
}
# ECMA-48, select graphic rendition.
_CODES = {
    "bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "blue": "34", "magenta": "35", "cyan": "36",
}  # fmt: skip
# A job's output must not control the terminal of the person who reads it.
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")

_BREAKS = re.compile(r"[\n\t]+")


class Text:
    """Spans of text, each with a style such as `bold red`. Immutable."""

    def __init__(self, text: str = "", style: str = "") -> None:
        self._spans: tuple[tuple[str, str], ...] = ((_CONTROLS.sub("\ufffd", text), style),) if text else ()

    @classmethod
    def assemble(cls, *parts: "str | tuple[str, str] | Text") -> "Text":
        made = cls()
        for part in parts:
            match part:
                case Text():
                    made._spans += part._spans
                case str():
                    made._spans += cls(part)._spans
                case _:
                    made._spans += cls(*part)._spans
        return made

    @property
    def plain(self) -> str:
        return "".join(text for text, _ in self._spans)

    @property
    def cell_len(self) -> int:
        return _cells(self.plain)

    def join(self, parts: "Iterable[Text]") -> "Text":
        joined: list[Text] = []
        for part in parts:
            joined += [self, part] if joined else [part]
        return Text.assemble(*joined)

    def fitted(self, width: int) -> "Text":
        """The text in at most `width` cells of one line. If it is cut, it ends with an ellipsis."""
        if self.cell_len <= width:
            return self
        made, room = Text(), max(0, width - 1)
        for text, style in self._spans:
            kept = _first(text, room)
            made._spans += Text(kept, style)._spans
            room -= _cells(kept)
            if kept != text:
                break
        return Text.assemble(made, "…") if width > 0 else Text()

    def one_line(self) -> "Text":
        return Text.assemble(
            *(_BREAKS.sub(" ", text) if not style else (_BREAKS.sub(" ", text), style) for text, style in self._spans)
        )

    def padded(self, width: int) -> "Text":
        return Text.assemble(self, " " * max(0, width - self.cell_len))

    def drawn(self, *, with_styles: bool) -> str:
        """The characters to write to a terminal."""
        if not with_styles:
            return self.plain
        return "".join(
            f"\x1b[{';'.join(_CODES[word] for word in style.split())}m{text}\x1b[0m" if style else text
            for text, style in self._spans
        )

    def lines(self, width: int) -> "list[Text]":
        """The text as one line. A terminal wraps it, and it can be copied without line breaks."""
        return [self]

    def rich(self) -> "RichText":
        from rich.text import Text as RichText

        return RichText.assemble(*self._spans)

    def __rich__(self) -> "RichText":
        return self.rich()


class Drawable(Protocol):
    """Has lines that fit into `width` cells if possible."""

    def lines(self, width: int) -> list[Text]: ...


class Lines:
    """Lines that are each cut to the width."""

    def __init__(self, lines: Iterable[Text]) -> None:
        self._lines = list(lines)

    def lines(self, width: int) -> list[Text]:
        return [line.fitted(width) for line in self._lines]


class Card:
    """Names and values, one pair in each line."""

    def __init__(self) -> None:
        self._rows: list[tuple[str, Text]] = []

    def add_row(self, name: str, value: str | Text) -> None:
        self._rows.append((name, Text(value) if isinstance(value, str) else value))

    @property
    def rows(self) -> list[tuple[str, str]]:
        return [(name, value.plain) for name, value in self._rows]

    def lines(self, width: int) -> list[Text]:
        widest = max((_cells(name) for name, _ in self._rows), default=0)
        return [Text.assemble(Text(name, "dim").padded(widest + 2), value) for name, value in self._rows]


def _cells(text: str) -> int:
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def _first(text: str, cells: int) -> str:
    """The longest beginning of the text that fits into so many cells."""
    if text.isascii():
        return text[:cells]
    from rich.cells import chop_cells

    return next(iter(chop_cells(text, cells)), "") if cells > 0 and _cells(text) > cells else text if cells > 0 else ""
