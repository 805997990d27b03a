"""Opens the file of a data_path, and never a file outside the data root.

The path is walked one component at a time. Each is opened relative to the folder that was opened
before it, so the file that was checked is the file that is read, even if something is renamed or
replaced meanwhile. A symbolic link is followed if it leads to a place under the root. Its target
may be relative, or absolute with the root in front.
"""

import errno
import os
import stat
from contextlib import ExitStack
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from shared_schemas.errors import DataRejected

# The root inside containers, which users copy from examples.
CONTAINER_ROOT = PurePosixPath("/data")
# The kernel follows no more symbolic links in one path.
MOST_LINKS = 40
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
# Without O_NONBLOCK, opening a pipe would wait for its writer.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_ABSENT = (errno.ENOENT, errno.ENOTDIR)


def open_data(data_path: str, root: Path) -> BinaryIO:
    """The file, open for reading. data_path: relative to the root, or absolute with the root or
    /data in front.

    DataRejected data_not_found if there is no such file or the path names no regular file,
    data_not_readable if the file may not be read, path_not_allowed for a path that could lead out
    of the root. The message of path_not_allowed is always the same, because it must not reveal what
    exists outside the root.
    """
    if "\0" in data_path or "\\" in data_path:
        raise _not_allowed()
    path = PurePosixPath(data_path)
    if path.is_absolute():
        path = _below(path, (*_names_of(root), CONTAINER_ROOT))
    if ".." in path.parts or not path.parts:
        raise _not_allowed()
    try:
        return _walk(root, list(path.parts))
    except OSError as error:
        if error.errno in _ABSENT:
            raise _not_found() from None
        # For example a name that the file system does not allow, or a folder that may not be
        # entered.
        raise _not_allowed() from None


def _walk(root: Path, parts: list[str]) -> BinaryIO:
    """parts: the components of the path below the root. A link is replaced by the components of its
    target."""
    n_links = 0
    with ExitStack() as opened:
        # The open folders from the root to here. `..` in the target of a link goes back to one of
        # them, and never above the root.
        folders = [_opened(root, _FOLDER, None, opened)]
        while parts:
            name = parts.pop(0)
            if name == "..":
                if len(folders) == 1:
                    raise _not_allowed()
                folders.pop()
                continue
            mode = os.stat(name, dir_fd=folders[-1], follow_symlinks=False).st_mode
            if stat.S_ISLNK(mode):
                n_links += 1
                if n_links > MOST_LINKS:
                    raise _not_allowed()
                target = PurePosixPath(os.readlink(name, dir_fd=folders[-1]))
                if target.is_absolute():
                    target, folders = _below(target, _names_of(root)), folders[:1]
                parts[:0] = target.parts
            elif parts:
                folders.append(_opened(name, _FOLDER | os.O_NOFOLLOW, folders[-1], opened))
            elif stat.S_ISREG(mode):
                return _open_file(name, folders[-1])
            else:
                raise _not_found()
    # The last part was a link to a folder.
    raise _not_found()


def _opened(name: str | Path, flags: int, folder: int | None, opened: ExitStack) -> int:
    descriptor = os.open(name, flags, dir_fd=folder)
    opened.callback(os.close, descriptor)
    return descriptor


def _open_file(name: str, folder: int) -> BinaryIO:
    try:
        descriptor = os.open(name, _FILE, dir_fd=folder)
    except PermissionError:
        raise DataRejected("data_not_readable", "the data cannot be read") from None
    # The file may have been replaced since `stat`.
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise _not_found()
    return os.fdopen(descriptor, "rb")


def _names_of(root: Path) -> tuple[PurePosixPath, ...]:
    """The paths by which the root may be named: with its links resolved, and as it is
    configured."""
    return PurePosixPath(root.resolve()), PurePosixPath(root.absolute())


def _below(path: PurePosixPath, prefixes: tuple[PurePosixPath, ...]) -> PurePosixPath:
    """The path relative to the first prefix that it begins with. DataRejected path_not_allowed if
    there is none."""
    for prefix in prefixes:
        if path.is_relative_to(prefix):
            return path.relative_to(prefix)
    raise _not_allowed()


def _not_allowed() -> DataRejected:
    return DataRejected("path_not_allowed", "the path must name a file under the data root")


def _not_found() -> DataRejected:
    return DataRejected("data_not_found", "there is no such file under the data root")
