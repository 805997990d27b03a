"""Tables that fit a narrow terminal. Columns are first shortened, then left out. Knows no jobs.

Each row is one line.
"""

from collections.abc import Mapping, Sequence

from headrace.ink import Text

_GAP = 2


class FittedTable:
    """columns: each name with the width to which the column may be cut; None: never cut. leave_out:
    the names of columns in the order in which they are left out, after empty columns. The first
    column names the row and always stays."""

    def __init__(self, columns: Mapping[str, int | None], *, leave_out: Sequence[str] = ()) -> None:
        self._columns, self._leave_out = columns, leave_out
        self._rows: list[tuple[Text, ...]] = []

    def add(self, name: str, *cells: str | Text) -> None:
        self._rows.append((_in_a_line(Text(name, "bold")), *(_in_a_line(cell) for cell in cells)))

    def lines(self, width: int) -> list[Text]:
        widths = self._widths(width)
        header = tuple(Text(name, "dim") for name in self._columns)
        # The first column is shown whole even if nothing else fits beside it.
        room = max(width, next(iter(widths.values())))
        return [self._line(row, widths).fitted(room) for row in (header, *self._rows)]

    def _line(self, row: Sequence[Text], widths: Mapping[str, int]) -> Text:
        shown = [(cell, widths[name]) for name, cell in zip(self._columns, row, strict=True) if name in widths]
        last, room = shown.pop()
        return Text.assemble(*(cell.fitted(size).padded(size + _GAP) for cell, size in shown), last.fitted(room))

    @property
    def cells(self) -> list[list[str]]:
        """The names of the columns, then the rows."""
        return [list(self._columns), *([cell.plain for cell in row] for row in self._rows)]

    def _widths(self, room: int) -> dict[str, int]:
        """The widths of the columns that are shown, from left to right."""
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


def _in_a_line(cell: str | Text) -> Text:
    text = Text(cell) if isinstance(cell, str) else cell
    return text.one_line()


def _total(widths: Mapping[str, int]) -> int:
    return sum(widths.values()) + _GAP * (len(widths) - 1)
