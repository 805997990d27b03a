"""Fields that hold JSON without decoding it."""

from typing import Any

import msgspec


def null() -> msgspec.Raw:
    """The default of a Raw field. It is a factory, because a JSON Schema cannot contain a Raw value
    as a default."""
    return msgspec.Raw(b"null")


def readable(struct: Any) -> str:
    """A repr for a Struct with a Raw field, which shows the JSON."""
    values = ((name, getattr(struct, name)) for name in struct.__struct_fields__)
    shown = (f"{name}={_text(value) if isinstance(value, msgspec.Raw) else repr(value)}" for name, value in values)
    return f"{type(struct).__name__}({', '.join(shown)})"


def _text(value: msgspec.Raw) -> str:
    return bytes(value).decode(errors="replace")
