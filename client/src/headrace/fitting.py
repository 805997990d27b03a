"""Tables that fit: where a terminal is narrow, columns are cut and then left out. Knows no jobs.

No cell is ever folded into lines: a row is a line.
"""

from collections.abc import Mapping, Sequence

from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

_GAP = 2


class FittedTable:
    """columns: each name with the width that it may be cut down to, None where it never is. leave_out: names in the
    order in which they are left out; columns that nobody filled go before them. The first column names the row and
    stays."""

    def __init__(self, columns: Mapping[str, int | None], *, leave_out: Sequence[str] = ()) -> None:
        self._columns, self._leave_out = columns, leave_out
        self._rows: list[tuple[Text, ...]] = []

    def add(self, name: str, *cells: str | Text) -> None:
        self._rows.append(
            (Text(name, style="bold"), *(Text(cell) if isinstance(cell, str) else cell for cell in cells))
        )

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        widths = self._widths(options.max_width)
        table = Table(box=None, padding=(0, _GAP, 0, 0), pad_edge=False, header_style="dim")
        for name, width in widths.items():
            table.add_column(name, width=width, no_wrap=True, overflow="ellipsis")
        for row in self._rows:
            table.add_row(*(cell for name, cell in zip(self._columns, row, strict=True) if name in widths))
        yield table

    def _widths(self, room: int) -> dict[str, int]:
        """Of the columns that are shown, from left to right."""
        cells = {name: [row[i].cell_len for row in self._rows] for i, name in enumerate(self._columns)}
        whole = {name: max([len(name), *cells[name]]) for name in self._columns}
        widths = {
            name: whole[name] if cut is None else min(whole[name], max(cut, len(name)))
            for name, cut in self._columns.items()
        }
        _, *others = self._columns
        for name in [*(name for name in others if not any(cells[name])), *self._leave_out]:
            if _total(widths) <= room:
                break
            widths.pop(name, None)
        for name, width in widths.items():
            widths[name] = min(whole[name], width + max(0, room - _total(widths)))
        return widths


def _total(widths: Mapping[str, int]) -> int:
    return sum(widths.values()) + _GAP * (len(widths) - 1)
