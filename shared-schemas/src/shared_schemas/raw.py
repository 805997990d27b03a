"""Fields that hold JSON as it is, without decoding it."""

from typing import Any

import msgspec


def null() -> msgspec.Raw:
    """The default of a Raw field. A factory, because JSON schema has no words for a Raw value."""
    return msgspec.Raw(b"null")


def readable(struct: Any) -> str:
    """The repr of a Struct with a Raw field: its JSON as it is."""
    values = ((name, getattr(struct, name)) for name in struct.__struct_fields__)
    shown = (f"{name}={_text(value) if isinstance(value, msgspec.Raw) else repr(value)}" for name, value in values)
    return f"{type(struct).__name__}({', '.join(shown)})"


def _text(value: msgspec.Raw) -> str:
    return bytes(value).decode(errors="replace")
