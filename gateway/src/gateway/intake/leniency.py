"""Accepts two habits of clients that the Structs would reject: null for a field that is not given,
and 5.0 for a whole number. Knows no request.

Used only after a body did not fit its Struct, so a body that fits costs nothing. A field of any
type is left alone. In a dict, null is a value and stays.
"""

from collections.abc import Iterator
from functools import cache
from typing import Any

from msgspec import inspect
from shared_schemas.numbers import LARGEST
from shared_schemas.specs import JobOptions

type_of = cache(inspect.type_info)


def as_meant(value: Any, kind: Any) -> Any:
    """value: decoded from JSON without a type. kind: the type that it is to be decoded as."""
    return _of(value, list(alternatives(type_of(kind))))


def alternatives(kind: inspect.Type) -> Iterator[inspect.Type]:
    """The members of a union, or the one type."""
    if isinstance(kind, inspect.Metadata):
        yield from alternatives(kind.type)
    elif isinstance(kind, inspect.UnionType):
        for one in kind.types:
            yield from alternatives(one)
    else:
        yield kind


def _of(value: Any, types: list[inspect.Type]) -> Any:
    if isinstance(value, float):
        takes_whole = any(isinstance(one, inspect.IntType) for one in types)
        takes_float = any(isinstance(one, inspect.FloatType | inspect.AnyType) for one in types)
        is_whole = value.is_integer() and abs(value) <= LARGEST
        return int(value) if is_whole and takes_whole and not takes_float else value
    if isinstance(value, dict):
        struct = next((one for one in types if isinstance(one, inspect.StructType)), None)
        if struct is not None:
            return dict(_given(value, struct))
        values = [inner for one in types if isinstance(one, inspect.DictType) for inner in alternatives(one.value_type)]
        return {name: _of(part, values) for name, part in value.items()} if values else value
    if isinstance(value, list):
        items = [inner for one in types for item in _items(one) for inner in alternatives(item)]
        return [_of(part, items) for part in value] if items else value
    return value


def _given(value: dict[str, Any], struct: inspect.StructType) -> Iterator[tuple[str, Any]]:
    fields = {field.encode_name: field for field in struct.fields}
    structs = struct.cls.structs_within(value) if issubclass(struct.cls, JobOptions) else {}
    for name, part in value.items():
        field = fields.get(name)
        if part is None and (name == struct.tag_field or (field is not None and not field.required)):
            continue
        if name in structs:
            yield name, as_meant(part, structs[name])
        else:
            yield name, part if field is None else _of(part, list(alternatives(field.type)))


def _items(kind: inspect.Type) -> Iterator[inspect.Type]:
    if isinstance(kind, inspect.CollectionType):
        yield kind.item_type
    elif isinstance(kind, inspect.TupleType):
        yield from kind.item_types
