"""Artifacts on a local or shared file system, named by their sha256. Knows no model and no job.

A file appears under its name only when it is complete: it is written under another name, synced and
renamed. Two attempts may write the same contents at the same time.
"""

import errno
import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from shared_schemas.artifacts import ArtifactRef
from shared_schemas.errors import ErrorInfo, HeadraceError, NotFound
from shared_schemas.service.failpoints import failpoint
from shared_schemas.store.collecting import store_lock

_CHUNK_BYTES = 1 << 20


class ArtifactMissing(NotFound):
    code = "artifact_missing"


class ArtifactCorrupt(HeadraceError):
    code = "artifact_corrupt"


class StoreUnwritable(HeadraceError):
    """The disk is the cause, not the job: the same write may work later, or on another machine. Its
    codes are STORE_FAULTS."""

    def __init__(self, error: OSError) -> None:
        name = errno.errorcode.get(error.errno or 0, "unknown")
        self._fault, message = _FAULTS.get(name, ("store_failed", f"writing to the artifact store failed ({name})"))
        super().__init__(message)

    def info(self) -> ErrorInfo:
        return ErrorInfo(code=self._fault, message=str(self), retryable=True)


_FAULTS = {
    "ENOSPC": ("no_space", "the artifact store is full"),
    "EDQUOT": ("no_space", "the artifact store is full"),
    "EROFS": ("store_read_only", "the artifact store is mounted read-only"),
}
STORE_FAULTS = frozenset({"store_failed", *(code for code, _ in _FAULTS.values())})


@contextmanager
def _writing() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreUnwritable(error) from error


class ArtifactStore:
    """Files under root/sha256/<two hex digits>/<sha256>."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._incoming = root / "incoming"
        with _writing():
            self._incoming.mkdir(parents=True, exist_ok=True)

    def put_file(self, path: Path, *, media_type: str = "application/octet-stream") -> ArtifactRef:
        with path.open("rb") as source:
            return self._put(lambda target: shutil.copyfileobj(source, target, _CHUNK_BYTES), media_type)

    def put_bytes(self, data: bytes, *, media_type: str = "application/octet-stream") -> ArtifactRef:
        return self._put(lambda target: target.write(data), media_type)

    def path(self, ref: ArtifactRef) -> Path:
        """The path of the file. ArtifactMissing if it does not exist."""
        path = self._place(ref.sha256)
        if not path.is_file():
            raise ArtifactMissing(f"artifact {ref.sha256} is not in the store")
        return path

    def verify(self, ref: ArtifactRef) -> Path:
        """The path, after the whole file was read. ArtifactCorrupt if its size or digest is
        wrong."""
        path = self.path(ref)
        if path.stat().st_size != ref.n_bytes or _digest(path) != ref.sha256:
            raise ArtifactCorrupt(f"artifact {ref.sha256} does not have the contents it is named by")
        return path

    def remove(self, ref: ArtifactRef) -> None:
        """Remove a file that nobody but the caller uses. Does nothing if it is gone. OSError."""
        self._place(ref.sha256).unlink(missing_ok=True)

    def sweep(self, *, older_than_s: float) -> int:
        """Remove incomplete files of writers that died. -> how many files. older_than_s: since the
        last write by the clock of the file system; longer than any write takes."""
        removed = 0
        for temporary in self._incoming.iterdir():
            # Another process may remove it first.
            with suppress(FileNotFoundError):
                if time.time() - temporary.stat().st_mtime > older_than_s:
                    temporary.unlink()
                    removed += 1
        return removed

    def _place(self, sha256: str) -> Path:
        return self._root / "sha256" / sha256[:2] / sha256

    @_writing()
    def _put(self, write: Callable[[IO[bytes]], object], media_type: str) -> ArtifactRef:
        descriptor, name = tempfile.mkstemp(dir=self._incoming)
        temporary = Path(name)
        try:
            with os.fdopen(descriptor, "wb") as target:
                write(target)
                target.flush()
                os.fsync(target.fileno())
            sha256, n_bytes = _digest(temporary), temporary.stat().st_size
            place = self._place(sha256)
            place.parent.mkdir(parents=True, exist_ok=True)
            # The write may have taken long, or the file may exist. Its grace period begins now.
            os.utime(temporary)
            # mkstemp makes a file that only its owner can read. The user of another service reads this one.
            temporary.chmod(0o644)
            failpoint("artifact_written")
            with store_lock(self._root, exclusive=False):
                temporary.replace(place)
            _sync_directory(place.parent)
            failpoint("artifact_renamed")
        finally:
            temporary.unlink(missing_ok=True)
        return ArtifactRef(sha256=sha256, n_bytes=n_bytes, media_type=media_type)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
