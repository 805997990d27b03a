"""A file named by its contents."""

from typing import Annotated

import msgspec

Sha256 = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]


class ArtifactRef(msgspec.Struct, frozen=True, kw_only=True):
    """sha256: lower-case hex of the contents, which is also the file's name in the store."""

    sha256: Sha256
    n_bytes: int
    media_type: str = "application/octet-stream"


class References(msgspec.Struct, frozen=True, kw_only=True):
    """Which files of the store are in use, by sha256.

    kept: a job or a model refers to them. checkpoints: those of the kept files that may name
    further files. superseded: checkpoints that are neither among the newest of their job nor its
    best.
    """

    kept: frozenset[str]
    checkpoints: frozenset[str] = frozenset()
    superseded: frozenset[str] = frozenset()
