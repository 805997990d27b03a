"""Class names and their numbers, shared by the classifiers.

A class is one spelling, with two exceptions: a whole number is the same with and without `.0`, as exports of one column
by several programs have it, and true and false are the same in any case. Numbers that are equal and spelled otherwise,
1 and 01, may be codes that lost a digit or not: they are refused.
"""

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from decimal import Decimal, InvalidOperation

import torch
from shared_schemas.errors import DataRejected
from shared_schemas.numbers import parse_number
from torch import Tensor

from recipe_kit.tables import Table

MOST_CLASSES = 1000
# Of classes, in one line of a log.
_NAMED = 10
_TRUTH = ("true", "false")
_WHOLE = re.compile(r"([+-]?[0-9]+)\.0*")
# What other tools take for a missing value.
_LIKE_MISSING = frozenset(("nan", "na", "n/a", "none", "null", "nil", "<na>", "#n/a", "nat", "?", "-"))
# No float64 has more digits; what is longer is a code that is compared by its spelling.
_LONGEST_NUMBER = 32


def classes_of(cells: Sequence[str], column: str, *, is_asked: bool = False) -> tuple[str, ...]:
    """is_asked: somebody said that the column names classes.

    DataRejected data_one_class, data_too_many_classes, data_ambiguous_label.
    """
    spellings = _spellings(cells)
    classes = tuple(sorted(same if len(found) > 1 else next(iter(found)) for same, found in spellings.items()))
    if len(classes) < 2:
        raise DataRejected("data_one_class", f"every row of {column!r} is the same class", column=column)
    if len(classes) == len(cells):
        message = f"every row of {column!r} is a class of its own: is it the label?"
        raise DataRejected("data_too_many_classes", message, column=column)
    if len(classes) > MOST_CLASSES:
        raise DataRejected("data_too_many_classes", f"{column!r} has more than {MOST_CLASSES} classes", column=column)
    if len(classes) * 2 > len(cells) and not is_asked:
        message = f"{column!r} has hardly two rows of a class: if it is the label, say task classification"
        raise DataRejected("data_too_many_classes", message, column=column)
    _check_numbers(cells, spellings, column)
    _check_truth(cells, spellings, column)
    return classes


def encode(table: Table, column: str, classes: Sequence[str]) -> Tensor:
    """-> (n,) int64. DataRejected data_unknown_class for a class that is not among `classes`."""
    numbers = {_same(name): i for i, name in enumerate(classes)}
    encoded = []
    known: dict[str, int] = {}
    for row, cell in enumerate(table.labels(column), start=1):
        number = known.get(cell)
        if number is None:
            same = _same(cell)
            if same not in numbers:
                message = f"row {row} has a class that is not among those learned"
                raise table.fault("data_unknown_class", message, row=row, column=column)
            number = known[cell] = numbers[same]
        encoded.append(number)
    return torch.tensor(encoded)


def remarks_on(cells: Sequence[str], column: str) -> list[str]:
    """What looks odd about the classes of a column, one sentence each."""
    spellings = _spellings(cells)
    remarks = []
    if several := [repr(same) for same, found in spellings.items() if len(found) > 1]:
        remarks.append(f"classes of {column!r} that are spelled in several ways: {', '.join(several)}")
    by_case = defaultdict(list)
    for same in spellings:
        by_case[_loosely(same)].append(repr(same))
    if alike := [" and ".join(sorted(names)) for names in by_case.values() if len(names) > 1]:
        remarks.append(f"classes of {column!r} that differ in case, spaces or form alone: {', '.join(sorted(alike))}")
    if words := [repr(same) for same in spellings if same.casefold() in _LIKE_MISSING]:
        remarks.append(f"classes of {column!r}, no missing values: {', '.join(sorted(words))}")
    return remarks


def without_rows(classes: Sequence[str], training: Tensor, held_out: Tensor) -> list[str]:
    """Lines for the log: classes that no row teaches, and those that no row measures."""
    lines = []
    for numbers, what in ((training, "to train on"), (held_out, "held out")):
        seen = set(numbers.tolist())
        if absent := [repr(name) for i, name in enumerate(classes) if i not in seen]:
            more = f" and {len(absent) - _NAMED} more" if len(absent) > _NAMED else ""
            lines.append(f"classes of which no row is {what}: {', '.join(absent[:_NAMED])}{more}")
    return lines


def majority_accuracy(training: Tensor, held_out: Tensor) -> float:
    """Accuracy on held-out rows of always naming the class that most training rows have."""
    [(most_common, _)] = Counter(training.tolist()).most_common(1)
    return float((held_out == most_common).float().mean())


def _loosely(name: str) -> str:
    """Equal for two names that a person may well take for one."""
    return " ".join(unicodedata.normalize("NFKC", name).casefold().split())


def _same(cell: str) -> str:
    """Equal for two spellings of one class."""
    if whole := _WHOLE.fullmatch(cell):
        return whole[1]
    folded = cell.casefold()
    return folded if folded in _TRUTH else cell


def _spellings(cells: Iterable[str]) -> dict[str, set[str]]:
    found = defaultdict(set)
    for cell in set(cells):
        found[_same(cell)].add(cell)
    return found


def _check_numbers(cells: Sequence[str], spellings: dict[str, set[str]], column: str) -> None:
    """Equality is that of decimals: float64 would make one of two long ids."""
    seen: dict[Decimal, str] = {}
    for same in sorted(spellings):
        if len(same) > _LONGEST_NUMBER or parse_number(same) is None:
            continue
        try:
            number = Decimal(same)
        except InvalidOperation:
            # An exponent beyond all bounds, as a digest in hexadecimal may look like.
            continue
        other = seen.setdefault(number, same)
        if other != same:
            row = 1 + max(min(cells.index(cell) for cell in spellings[name]) for name in (same, other))
            message = f"row {row} of {column!r} is a number that an earlier row spells otherwise: write one of the two"
            raise DataRejected("data_ambiguous_label", message, row=row, column=column)


def _check_truth(cells: Sequence[str], spellings: dict[str, set[str]], column: str) -> None:
    """True beside 1 may be one class or two, as when files of two programs were joined."""
    rows = [
        1 + min(cells.index(cell) for name in names if name in spellings for cell in spellings[name])
        for names in (_TRUTH, ("1", "0"))
        if not spellings.keys().isdisjoint(names)
    ]
    if len(rows) > 1:
        message = f"{column!r} has true or false, and 1 or 0 as well: write one of the two, from row {max(rows)} on"
        raise DataRejected("data_ambiguous_label", message, row=max(rows), column=column)
