"""Turns values that callers pass into JSON values: numbers, texts, lists and objects.

Arrays, columns and tables are recognised by their methods, so no library is imported. A value that
has no JSON form is InvalidJob, which names its place (`input_data[3]['size']`) and never the
value. Knows no kind of job.
"""

import os
from collections import deque
from collections.abc import Callable, ItemsView, Iterable, Iterator, KeysView, Mapping, Sequence, Set, ValuesView
from dataclasses import fields, is_dataclass
from datetime import date, time, timedelta
from enum import Enum
from functools import partial
from math import isfinite
from numbers import Complex, Integral, Number, Real
from typing import Any
from uuid import UUID

import msgspec

from headrace.errors import InvalidJob

# Deeper than any real input, and well below Python's own limit.
_MAX_DEPTH = 100
_INTEGERS = range(-(2**63), 2**64)
# pandas' NA and NaT, which equal nothing, not even themselves.
_MISSING = ("NAType", "NaTType")
# Methods that convert a value, in the order in which they are tried: of pydantic's models; Arrow's
# tables and scalars; arrays, columns and scalars; anything that only numpy can read.
_CONVERSIONS = ("model_dump", "to_pylist", "as_py", "tolist", "to_list", "item", "__array__")
_SHOWN_NAME = 60


class _NotConvertible(ValueError):
    """Says why a value is not converted."""


def plain(value: Any, place: str, depth: int = 0) -> Any:
    """The value as a JSON value in Python's own types. InvalidJob says what is
    wrong, and where below `place`.

    A table becomes a list of objects, one for each row. A pandas Series becomes a list, or an
    object if its cells have names. An array becomes nested lists, an Enum its value, a dataclass an
    object, a date or time its ISO 8601 text.
    """
    kind = type(value)
    if kind is float:
        return _finite(value, place)
    if value is None or kind is bool:
        return value
    if kind is str:
        return _text(value, place)
    if depth > _MAX_DEPTH:
        raise InvalidJob(f"{place} is nested more than {_MAX_DEPTH} levels deep")
    if kind in (list, tuple):
        return _list(value, place, depth)
    if kind.__name__ in _MISSING:
        raise InvalidJob(f"{place} is a missing value ({kind.__name__.removesuffix('Type')}): give None")
    match value:
        case Enum():
            return plain(value.value, place, depth + 1)
        case Mapping():
            return _object(value.items(), place, depth)
        case str():
            return _text(str.__str__(value), place)
        case bytes() | bytearray() | memoryview():
            raise InvalidJob(f"{place} is {_named(value)}: decode it to a text first")
        case Sequence() | deque() | KeysView() | ValuesView() | ItemsView():
            return _list(value, place, depth)
        case Set():
            raise InvalidJob(f"{place} is {_named(value)}, which has no order: give a list")
        case timedelta():
            raise InvalidJob(f"{place} is {_named(value)}: give its seconds as a number")
        # numpy registers its timedelta64 as an Integral.
        case Integral() if _time_kind(value) is None:
            return _whole(int(value), place)
        case Real() if _time_kind(value) is None:
            return _finite(float(value), place)
        case date() | time():
            return value.isoformat()
        case os.PathLike():
            return plain(os.fspath(value), place, depth + 1)
        case UUID():
            return str(value)
        case msgspec.Raw():
            return plain(msgspec.json.decode(value), place, depth + 1)
        case msgspec.Struct():
            parts = ((field.encode_name, getattr(value, field.name)) for field in msgspec.structs.fields(value))
            return _object(parts, place, depth)
        case _:
            return _from_library(value, place, depth)


def _from_library(value: Any, place: str, depth: int) -> Any:
    """Convert an array, column, table or scalar of numpy, pandas, polars, Arrow, PyTorch and the
    like, a dataclass or an iterator."""
    if isinstance(value, type) or hasattr(value, "read"):
        raise _unsupported(value, place)
    if is_dataclass(value):
        return _object(((field.name, getattr(value, field.name)) for field in fields(value)), place, depth)
    if isinstance(value, Iterator):
        return _list(value, place, depth)
    convert = _conversion_of(value)
    if convert is None:
        raise _unsupported(value, place)
    try:
        simpler = convert()
    except Exception as error:
        # The text of a library's error may repeat the value. It is kept in the cause only.
        why = str(error) if isinstance(error, _NotConvertible) else type(error).__name__
        raise InvalidJob(f"{place} is {_named(value)}, which does not turn into plain values: {why}") from error
    if type(simpler) is type(value):
        raise _unsupported(value, place)
    return plain(simpler, place, depth + 1)


def _conversion_of(value: Any) -> Callable[[], Any] | None:
    """The method of the value that converts it into something simpler; None if it has none. Tables
    are recognised first, because they have the methods of arrays as well."""

    def method(name: str) -> Callable[..., Any] | None:
        found = getattr(value, name, None)
        return found if callable(found) else None

    if _time_kind(value) is not None and not hasattr(value, "to_numpy"):
        # tolist() would give whole numbers of nanoseconds.
        return partial(_times_as_text, value)
    # Decimal is a Number but not a Real. Complex is excluded: numpy's
    # would drop the imaginary part.
    if isinstance(value, Number) and not isinstance(value, Complex):
        return method("__float__")
    if rows := method("to_dicts"):
        return rows
    if (to_dict := method("to_dict")) and hasattr(value, "columns"):
        return partial(_if_unique, value.columns, partial(to_dict, orient="records"))
    if to_dict and hasattr(value, "index") and _has_named_cells(value):
        return partial(_if_unique, value.index, to_dict)
    return next((found for name in _CONVERSIONS if (found := method(name))), None)


def _has_named_cells(series: Any) -> bool:
    """Whether a pandas Series is the row of a table: its cells have the names of columns."""
    names = list(series.index)
    return bool(names) and all(isinstance(name, str) for name in names)


def _if_unique(names: Any, to_dict: Callable[[], Any]) -> Any:
    """to_dict(), unless two cells have the same name: pandas would keep only the last of them."""
    if not getattr(names, "is_unique", True):
        raise _NotConvertible("two of its cells have one name")
    return to_dict()


def _time_kind(value: Any) -> str | None:
    """M for numpy's datetime64, m for its timedelta64, else None."""
    kind = getattr(getattr(value, "dtype", None), "kind", None)
    return kind if kind in ("M", "m") else None


def _times_as_text(array: Any) -> Any:
    """numpy's datetime64 as ISO 8601 texts. Refuses timedelta64 and missing times."""
    if array.dtype.kind == "m":
        raise _NotConvertible("give its seconds as numbers")
    texts = array.astype(str)
    if "NaT" in texts.ravel().tolist():
        raise _NotConvertible("it holds a missing time (NaT)")
    return texts.tolist()


def _list(values: Iterable[Any], place: str, depth: int) -> list[Any]:
    return [plain(value, f"{place}[{i}]", depth + 1) for i, value in enumerate(values)]


def _object(parts: Iterable[tuple[Any, Any]], place: str, depth: int) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for key, value in parts:
        if value is msgspec.UNSET:
            continue
        name = _key(key, place)
        if name in made:
            raise InvalidJob(f"{place} has two keys that are both written {_short(name)}")
        made[name] = plain(value, f"{place}[{_short(name)}]", depth + 1)
    return made


def _key(key: Any, place: str) -> str:
    """The key as a text. Whole numbers are converted."""
    match key:
        case Enum():
            return _key(key.value, place)
        case str():
            return _text(str.__str__(key), place)
        case bool() | None:
            pass
        case Integral():
            return str(int(key))
    raise InvalidJob(f"{place} has a key that is {_named(key)}: keys are texts")


def _text(value: str, place: str) -> str:
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise InvalidJob(f"{place} holds half a character (a lone surrogate), which UTF-8 cannot hold") from None
    return value


def _whole(value: int, place: str) -> int:
    if value not in _INTEGERS:
        raise InvalidJob(f"{place} is a whole number that needs more than 64 bits")
    return value


def _finite(value: float, place: str) -> float:
    if not isfinite(value):
        what = "NaN" if value != value else "infinite"
        raise InvalidJob(f"{place} is {what}, which JSON cannot hold: leave it out, or give None where one is allowed")
    return value


def _named(value: Any) -> str:
    name = type(value).__name__
    return f"{'an' if name[:1].lower() in tuple('aeiou') else 'a'} {name}"


def _short(name: str) -> str:
    return repr(name if len(name) <= _SHOWN_NAME else name[: _SHOWN_NAME - 1] + "…")


def _unsupported(value: Any, place: str) -> InvalidJob:
    return InvalidJob(f"{place} is {_named(value)}, which JSON cannot hold: give numbers, texts, lists or objects")
