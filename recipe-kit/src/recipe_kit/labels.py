"""The names of classes and their numbers, for all classifiers. Knows columns, not models.

Two spellings are two classes, with two exceptions. A whole number is the same class with and
without `.0`, because programs export one column in both ways. true and false are the same in any
case. Equal numbers with another spelling, such as 1 and 01, are refused: they may be one class, or
codes of which one has lost a digit.
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
# How many classes one line of the log names.
_NAMED = 10
_BOOLEANS = ("true", "false")
_WHOLE = re.compile(r"([+-]?[0-9]+)\.0*")
# What other tools treat as a missing value.
_LIKE_MISSING = frozenset(("nan", "na", "n/a", "none", "null", "nil", "<na>", "#n/a", "nat", "?", "-"))
# No float64 needs more digits. A longer text is a code, and is compared by its spelling.
_LONGEST_NUMBER = 32


def classes_of(cells: Sequence[str], column: str, *, is_asked: bool = False) -> tuple[str, ...]:
    """The names of the classes, sorted. cells: of the column, without spaces around them. is_asked:
    the job says that the column names classes, so a class may have few rows.

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
    _check_booleans(cells, spellings, column)
    return classes


def encode(table: Table, column: str, classes: Sequence[str]) -> Tensor:
    """-> (n,) int64: the index in `classes` for each row. DataRejected data_unknown_class if a row
    has another class."""
    numbers = {_canonical(name): i for i, name in enumerate(classes)}
    encoded = []
    known: dict[str, int] = {}
    for row, cell in enumerate(table.labels(column), start=1):
        number = known.get(cell)
        if number is None:
            same = _canonical(cell)
            if same not in numbers:
                message = f"row {row} has a class that is not among those learned"
                raise table.fault("data_unknown_class", message, row=row, column=column)
            number = known[cell] = numbers[same]
        encoded.append(number)
    return torch.tensor(encoded)


def remarks_on(cells: Sequence[str], column: str) -> list[str]:
    """Lines for the log about what looks odd in the classes of a column."""
    spellings = _spellings(cells)
    remarks = []
    if several := [repr(same) for same, found in spellings.items() if len(found) > 1]:
        remarks.append(f"classes of {column!r} that are spelled in several ways: {', '.join(several)}")
    by_case = defaultdict(list)
    for same in spellings:
        by_case[_folded(same)].append(repr(same))
    if alike := [" and ".join(sorted(names)) for names in by_case.values() if len(names) > 1]:
        remarks.append(f"classes of {column!r} that differ only in case, spaces or form: {', '.join(sorted(alike))}")
    if words := [repr(same) for same in spellings if same.casefold() in _LIKE_MISSING]:
        remarks.append(f"classes of {column!r} that are not missing values: {', '.join(sorted(words))}")
    return remarks


def classes_without_rows(classes: Sequence[str], training: Tensor, held_out: Tensor) -> list[str]:
    """Lines for the log about classes without a training row or without a held-out row. training,
    held_out: (n,) int64, indices of classes."""
    lines = []
    for numbers, what in ((training, "to train on"), (held_out, "held out")):
        seen = set(numbers.tolist())
        if absent := [repr(name) for i, name in enumerate(classes) if i not in seen]:
            more = f" and {len(absent) - _NAMED} more" if len(absent) > _NAMED else ""
            lines.append(f"classes without a row {what}: {', '.join(absent[:_NAMED])}{more}")
    return lines


def majority_accuracy(training: Tensor, held_out: Tensor) -> float:
    """The accuracy on held-out rows of a predictor that always answers the most common class of the
    training rows. training, held_out: (n,) int64, indices of classes."""
    [(most_common, _)] = Counter(training.tolist()).most_common(1)
    return float((held_out == most_common).float().mean())


def _folded(name: str) -> str:
    """A form of the name that is equal for two names that a person may confuse."""
    return " ".join(unicodedata.normalize("NFKC", name).casefold().split())


def _canonical(cell: str) -> str:
    """The name of the class, which is the same for all its spellings."""
    if whole := _WHOLE.fullmatch(cell):
        return whole[1]
    folded = cell.casefold()
    return folded if folded in _BOOLEANS else cell


def _spellings(cells: Iterable[str]) -> dict[str, set[str]]:
    """The spellings of each class, by its canonical form."""
    found = defaultdict(set)
    for cell in set(cells):
        found[_canonical(cell)].add(cell)
    return found


def _check_numbers(cells: Sequence[str], spellings: dict[str, set[str]], column: str) -> None:
    """DataRejected data_ambiguous_label if two classes are equal numbers. Compared as decimals,
    because two long ids can be the same float64."""
    seen: dict[Decimal, str] = {}
    for same in sorted(spellings):
        if len(same) > _LONGEST_NUMBER or parse_number(same) is None:
            continue
        try:
            number = Decimal(same)
        except InvalidOperation:
            # The exponent is too large. A hexadecimal digest can look like such a number.
            continue
        other = seen.setdefault(number, same)
        if other != same:
            row = 1 + max(min(cells.index(cell) for cell in spellings[name]) for name in (same, other))
            message = f"row {row} of {column!r} is a number that an earlier row spells differently: use one spelling"
            raise DataRejected("data_ambiguous_label", message, row=row, column=column)


def _check_booleans(cells: Sequence[str], spellings: dict[str, set[str]], column: str) -> None:
    """DataRejected data_ambiguous_label if a column has true or false and also 1 or 0. They may be
    one class or two, for example if the files of two programs were joined."""
    rows = [
        1 + min(cells.index(cell) for name in names if name in spellings for cell in spellings[name])
        for names in (_BOOLEANS, ("1", "0"))
        if not spellings.keys().isdisjoint(names)
    ]
    if len(rows) > 1:
        message = f"{column!r} has both true or false and 1 or 0, from row {max(rows)} on: use one of the two forms"
        raise DataRejected("data_ambiguous_label", message, row=max(rows), column=column)
