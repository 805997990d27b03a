"""JSON that passes through undecoded."""

import msgspec


def null() -> msgspec.Raw:
    """The default of a Raw field. A factory, because JSON schema has no words for a Raw value."""
    return msgspec.Raw(b"null")
