"""From a data_path to a file under the data root, and no other. Opens nothing."""

from pathlib import Path, PurePosixPath

from shared_schemas.errors import DataRejected

# How the root is called inside containers, and in everyone's examples.
CONTAINER_ROOT = PurePosixPath("/data")


def resolve(data_path: str, root: Path) -> Path:
    """data_path: relative to the root, or absolute with the root or /data in front.

    DataRejected data_not_found for a file that is not there, path_not_allowed for whatever could lead out of the root,
    in the same words for all: the error must not tell what exists elsewhere.
    """
    if "\0" in data_path or "\\" in data_path:
        raise _not_allowed()
    path = PurePosixPath(data_path)
    if path.is_absolute():
        for prefix in (PurePosixPath(root.resolve()), PurePosixPath(root.absolute()), CONTAINER_ROOT):
            if path.is_relative_to(prefix):
                path = path.relative_to(prefix)
                break
        else:
            raise _not_allowed()
    if ".." in path.parts or not path.parts:
        raise _not_allowed()
    inside = root.resolve()
    try:
        found = inside.joinpath(*path.parts).resolve()
        is_file = found.is_file()
    except (OSError, RuntimeError):
        # A name that no file system takes, a folder that may not be entered, links in a circle.
        raise _not_allowed() from None
    if not found.is_relative_to(inside):
        raise _not_allowed()
    if not is_file:
        raise DataRejected("data_not_found", "there is no such file under the data root")
    return found


def _not_allowed() -> DataRejected:
    return DataRejected("path_not_allowed", "the path must name a file under the data root")
