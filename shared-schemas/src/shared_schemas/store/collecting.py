"""Removes the files of a store that nothing refers to. Knows no Redis: the caller passes what is
referred to.

A file that was written, or written again, within the grace period stays: Redis may not refer to it
yet.
"""

import fcntl
import os
import re
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

import msgspec

from shared_schemas.artifacts import References

LOCK, IDENTITY = "lock", "identity"
_NAME = re.compile(r"[0-9a-f]{64}\Z")
_NAMED = re.compile(rb"[0-9a-f]{64}")
# Of a header of safetensors, which names each tensor. More bytes than this are not read.
_LONGEST_HEADER = 100 << 20


class Collected(msgspec.Struct, frozen=True, kw_only=True):
    """A file that is removed. why: superseded: a checkpoint that is neither among the newest of its
    job nor its best; unreferenced: no job and no model refers to it. age_s: since it was last
    written."""

    sha256: str
    n_bytes: int
    age_s: float
    why: Literal["superseded", "unreferenced"]


class Collection(msgspec.Struct, frozen=True, kw_only=True):
    """collected: the removed files; with dry_run those that would be removed. waiting: how many
    files nothing refers to, with a grace period that is not over. kept: how many files something
    refers to."""

    collected: tuple[Collected, ...]
    waiting: int
    kept: int

    @property
    def n_bytes(self) -> int:
        return sum(file.n_bytes for file in self.collected)


@contextmanager
def store_lock(root: Path, *, exclusive: bool) -> Iterator[None]:
    """Hold the lock of the store. Writers share it while they put a file in its place. A process
    that removes a file holds it exclusively."""
    descriptor = os.open(root / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH)
        except OSError:
            # This file system has no locks. Files can be written to it, but none is ever removed.
            if exclusive:
                raise
        yield
    finally:
        os.close(descriptor)


def collect(root: Path, references: References, *, grace_s: float, dry_run: bool) -> Collection:
    """root: of the store."""
    kept = set(references.kept)
    for sha256 in references.checkpoints:
        kept |= _named_by(_place(root, sha256))
    collected, waiting, n_kept = list[Collected](), 0, 0
    for path in _files(root):
        if path.name in kept:
            n_kept += 1
            continue
        found = _remove(root, path, references, grace_s=grace_s, dry_run=dry_run)
        if found is None:
            waiting += 1
        else:
            collected.append(found)
    return Collection(collected=tuple(collected), waiting=waiting, kept=n_kept)


def has_any(root: Path, sha256s: frozenset[str]) -> bool:
    return any(_place(root, sha256).is_file() for sha256 in sha256s)


def is_empty(root: Path) -> bool:
    return next(_files(root), None) is None


def identity_of(root: Path) -> str | None:
    """The identity of the Redis that the store belongs to, from the file in the store. None if
    there is no such file."""
    try:
        return (root / IDENTITY).read_text().strip() or None
    except FileNotFoundError:
        return None


def identify(root: Path, identity: str) -> None:
    made = root / f"{IDENTITY}.{secrets.token_hex(4)}"
    made.write_text(identity + "\n")
    made.replace(root / IDENTITY)


def _remove(root: Path, path: Path, references: References, *, grace_s: float, dry_run: bool) -> Collected | None:
    """None if the grace period is not over, or another process has removed the file."""
    # The lock decides: a writer of the same file replaces it either before its age is read here, or after its removal.
    with store_lock(root, exclusive=True), suppress(FileNotFoundError):
        facts = path.stat()
        age_s = time.time() - facts.st_mtime
        if age_s <= grace_s:
            return None
        if not dry_run:
            path.unlink()
        why: Literal["superseded", "unreferenced"] = (
            "superseded" if path.name in references.superseded else "unreferenced"
        )
        return Collected(sha256=path.name, n_bytes=facts.st_size, age_s=age_s, why=why)
    return None


def _named_by(path: Path) -> set[str]:
    """The files that a checkpoint names in its header: the parts of the series of its run. Empty if
    the checkpoint cannot be read, because then no job can continue from it."""
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = file.read(min(length, _LONGEST_HEADER))
    except OSError:
        return set()
    return {name.decode() for name in _NAMED.findall(header)}


def _files(root: Path) -> Iterator[Path]:
    for folder in sorted((root / "sha256").glob("[0-9a-f][0-9a-f]")):
        yield from (path for path in sorted(folder.iterdir()) if _NAME.match(path.name) and path.is_file())


def _place(root: Path, sha256: str) -> Path:
    return root / "sha256" / sha256[:2] / sha256
