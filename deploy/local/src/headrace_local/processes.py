"""A process and all that it has started, killed together. Knows no services.

A process that leads a session of its own is in no group of its parent's: who started whom is read from /proc, and
where there is none, only the group is killed.
"""

import os
import signal
from contextlib import suppress
from pathlib import Path

_PROC = Path("/proc")


def kill_family(pid: int) -> None:
    """pid: leads its group, is a child of this process, and is not reaped meanwhile."""
    with suppress(ProcessLookupError):
        # While it stands still it starts no more, and what it has started is not yet another's.
        os.kill(pid, signal.SIGSTOP)
    killed = set[int]()
    while found := descendants(pid) - killed:
        for each in found:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(each, signal.SIGKILL)
        killed |= found
    with suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


def descendants(pid: int) -> set[int]:
    """Its children, theirs, and so on, as far as they have not ended."""
    children: dict[int, list[int]] = {}
    for folder in _PROC.glob("[0-9]*"):
        with suppress(OSError, ValueError, IndexError):
            # pid (name) state parent …; the name may hold blanks and parentheses.
            parent = int((folder / "stat").read_text(errors="replace").rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(folder.name))
    found, unseen = set[int](), [pid]
    while unseen:
        of_one = children.get(unseen.pop(), [])
        found.update(of_one)
        unseen += of_one
    return found
