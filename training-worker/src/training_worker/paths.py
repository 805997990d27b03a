"""From a data_path to an open file under the data root, and no other.

The path is walked component by component, each opened in the folder that was opened before it: what was checked is what
is read, whatever is renamed or replaced meanwhile. A symbolic link is followed as long as it leads to a place under the
root, whether its target is relative or has the root in front.
"""

import errno
import os
import stat
from contextlib import ExitStack
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from shared_schemas.errors import DataRejected

# How the root is called inside containers, and in everyone's examples.
CONTAINER_ROOT = PurePosixPath("/data")
# As many as the kernel follows in one path.
MOST_LINKS = 40
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
# Without O_NONBLOCK, opening a pipe would wait for its writer.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_ABSENT = (errno.ENOENT, errno.ENOTDIR)


def open_data(data_path: str, root: Path) -> BinaryIO:
    """The file, open for reading. data_path: relative to the root, or absolute with the root or /data in front.

    DataRejected data_not_found for a file that is not there and for what is no file, data_not_readable for one that may
    not be read, path_not_allowed for whatever could lead out of the root, in the same words for all: the error must not
    tell what exists elsewhere.
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
        # A name that no file system takes, a folder that may not be entered.
        raise _not_allowed() from None


def _walk(root: Path, parts: list[str]) -> BinaryIO:
    """parts: of the path below the root. Those of a link's target take its place."""
    n_links = 0
    with ExitStack() as opened:
        # Those that lead to where the walk is: `..` in a link goes back to what was opened, never above the root.
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
    # It may have been replaced since it was looked at.
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise _not_found()
    return os.fdopen(descriptor, "rb")


def _names_of(root: Path) -> tuple[PurePosixPath, ...]:
    return PurePosixPath(root.resolve()), PurePosixPath(root.absolute())


def _below(path: PurePosixPath, prefixes: tuple[PurePosixPath, ...]) -> PurePosixPath:
    """The path without the first of the prefixes that it begins with."""
    for prefix in prefixes:
        if path.is_relative_to(prefix):
            return path.relative_to(prefix)
    raise _not_allowed()


def _not_allowed() -> DataRejected:
    return DataRejected("path_not_allowed", "the path must name a file under the data root")


def _not_found() -> DataRejected:
    return DataRejected("data_not_found", "there is no such file under the data root")
