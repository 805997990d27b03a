"""Artifacts on a local or shared file system, named by their sha256. Knows no model and no job.

A file appears under its name only when it is complete: it is written under another name, synced and
renamed. Two attempts may write the same contents at the same time.
"""

import errno
import fcntl
import hashlib
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, NamedTuple

from shared_schemas.artifacts import ArtifactRef
from shared_schemas.errors import ErrorInfo, HeadraceError, NotFound
from shared_schemas.service.failpoints import failpoint
from shared_schemas.store.collecting import store_lock

_CHUNK_BYTES = 1 << 20


class ArtifactMissing(NotFound):
    code = "artifact_missing"


class ArtifactCorrupt(HeadraceError):
    code = "artifact_corrupt"


class UploadInProgress(HeadraceError):
    """Another request writes the same file now."""

    code = "upload_in_progress"
    retryable = True


class UploadOffsetWrong(HeadraceError):
    """n_bytes: how much of the file is there."""

    code = "upload_offset_wrong"

    def __init__(self, n_bytes: int) -> None:
        super().__init__(f"the upload goes on at byte {n_bytes}")
        self.n_bytes = n_bytes


class DigestMismatch(HeadraceError):
    code = "digest_mismatch"


class StoreUnwritable(HeadraceError):
    """The disk is the cause, not the job: the same write may work later, or on another machine. Its
    codes are STORE_FAULTS."""

    def __init__(self, error: OSError) -> None:
        name = errno.errorcode.get(error.errno or 0, "unknown")
        self._fault, message = _FAULTS.get(name, ("store_failed", f"writing to the artifact store failed ({name})"))
        super().__init__(message)

    def info(self) -> ErrorInfo:
        return ErrorInfo(code=self._fault, message=str(self), retryable=True)


NO_SPACE = "no_space"
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


class FileState(NamedTuple):
    """What changes when a file is written to or replaced."""

    inode: int
    n_bytes: int
    mtime_ns: int


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

    def state(self, sha256: str) -> FileState | None:
        """The state of a complete file. None if it is not here."""
        try:
            found = self._place(sha256).stat()
        except FileNotFoundError:
            return None
        return FileState(found.st_ino, found.st_size, found.st_mtime_ns)

    def received(self, sha256: str) -> tuple[int, bool] | None:
        """How many bytes of a file are here, and whether that is all of it. None if there are none."""
        for path, is_complete in ((self._place(sha256), True), (self._part(sha256), False)):
            # The last part may arrive meanwhile.
            with suppress(FileNotFoundError):
                found = path.stat(follow_symlinks=is_complete)
                if stat.S_ISREG(found.st_mode):
                    return found.st_size, is_complete
        return None

    @_writing()
    def renew(self, ref: ArtifactRef) -> bool:
        """Begin the grace period of a file anew. -> whether the file is here, in this size"""
        with suppress(FileNotFoundError), store_lock(self._root, exclusive=False):
            path = self._place(ref.sha256)
            if path.stat().st_size == ref.n_bytes:
                os.utime(path)
                return True
        return False

    @contextmanager
    def receive(self, sha256: str, *, offset: int) -> Iterator["Upload"]:
        """Write a part of a file that begins at `offset`; what is there beyond it is written again.
        UploadInProgress, UploadOffsetWrong, StoreUnwritable."""
        part = self._part(sha256)
        with _writing():
            upload = Upload(self, sha256, _opened_alone(part), part)
        try:
            with _writing():
                upload.begin_at(offset)
            yield upload
        finally:
            upload.close()

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

    def put_in_place(self, temporary: Path, sha256: str) -> None:
        """Give a complete file, which is synced already, its name. OSError."""
        place = self._place(sha256)
        place.parent.mkdir(parents=True, exist_ok=True)
        # The write may have taken long, or the file may exist. Its grace period begins now.
        os.utime(temporary)
        failpoint("artifact_written")
        with store_lock(self._root, exclusive=False):
            temporary.replace(place)
        _sync_directory(place.parent)
        failpoint("artifact_renamed")

    def _place(self, sha256: str) -> Path:
        return self._root / "sha256" / sha256[:2] / sha256

    def _part(self, sha256: str) -> Path:
        return self._incoming / f"{sha256}.part"

    @_writing()
    def _put(self, write: Callable[[IO[bytes]], object], media_type: str) -> ArtifactRef:
        descriptor, name = tempfile.mkstemp(dir=self._incoming)
        temporary = Path(name)
        try:
            with os.fdopen(descriptor, "wb") as target:
                write(target)
                target.flush()
                _share(target.fileno())
                os.fsync(target.fileno())
            sha256, n_bytes = _digest(temporary), temporary.stat().st_size
            self.put_in_place(temporary, sha256)
        finally:
            temporary.unlink(missing_ok=True)
        return ArtifactRef(sha256=sha256, n_bytes=n_bytes, media_type=media_type)


class Upload:
    """A part of a file, from one writer. What is written stays if the writer leaves, so that the next
    one goes on there; ArtifactStore.sweep removes it in the end. Blocks."""

    def __init__(self, store: ArtifactStore, sha256: str, descriptor: int, part: Path) -> None:
        self._store, self._sha256, self._descriptor, self._part = store, sha256, descriptor, part
        self.n_bytes = 0
        # Of a file that comes in one part. One in several parts is read again at its end.
        self._digest: hashlib._Hash | None = None

    @property
    def is_hashed(self) -> bool:
        """Whether `finish` need not read the file again."""
        return self._digest is not None

    def begin_at(self, offset: int) -> None:
        n_bytes = os.fstat(self._descriptor).st_size
        if offset > n_bytes:
            raise UploadOffsetWrong(n_bytes)
        os.truncate(self._descriptor, offset)
        os.lseek(self._descriptor, offset, os.SEEK_SET)
        self.n_bytes, self._digest = offset, None if offset else hashlib.sha256()

    def write(self, data: bytes) -> None:
        """StoreUnwritable. If the disk is full, the part is removed, so that others have room."""
        left = memoryview(data)
        with self._removed_if_full():
            while left:
                n_written = os.write(self._descriptor, left)
                if self._digest is not None:
                    self._digest.update(left[:n_written])
                self.n_bytes += n_written
                left = left[n_written:]

    def finish(self) -> ArtifactRef:
        """Put the file in its place. DigestMismatch if these are other contents; then nothing of them
        is kept. StoreUnwritable."""
        with _writing():
            sha256 = _digest(self._part) if self._digest is None else self._digest.hexdigest()
        if sha256 != self._sha256:
            self.discard()
            raise DigestMismatch("the contents do not have the sha256 in the path; nothing of them is kept")
        with self._removed_if_full():
            _share(self._descriptor)
            os.fsync(self._descriptor)
            self._store.put_in_place(self._part, self._sha256)
        return ArtifactRef(sha256=self._sha256, n_bytes=self.n_bytes)

    def discard(self) -> None:
        """Keep nothing of the file."""
        self._part.unlink(missing_ok=True)

    def close(self) -> None:
        """An empty part would say no more than none."""
        if os.fstat(self._descriptor).st_size == 0:
            self._part.unlink(missing_ok=True)
        os.close(self._descriptor)

    @contextmanager
    def _removed_if_full(self) -> Iterator[None]:
        try:
            with _writing():
                yield
        except StoreUnwritable as error:
            if error.info().code == NO_SPACE:
                self.discard()
            raise


def _opened_alone(path: Path) -> int:
    """The file, locked for this writer. UploadInProgress, OSError."""
    while True:
        # A link would lead out of the store.
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # The writer before this one may have renamed or removed what was opened.
            if os.path.samestat(os.fstat(descriptor), path.lstat()):
                return descriptor
        except BlockingIOError:
            os.close(descriptor)
            raise UploadInProgress("another request is writing this file") from None
        except FileNotFoundError:
            pass
        except OSError as error:
            if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS):
                os.close(descriptor)
                raise
            # This file system has no locks. Two writers at once end with a wrong digest.
            return descriptor
        os.close(descriptor)


def _share(descriptor: int) -> None:
    """Only its owner can read a temporary file. The user of another service reads a complete one."""
    os.fchmod(descriptor, 0o644)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
