"""Kills a process together with everything that it has started. Knows no services.

A process that started a session of its own has left its parent's group. So descendants are found in
/proc. On a system without /proc, only the group is killed.
"""

import os
import signal
from contextlib import suppress
from pathlib import Path

_PROC = Path("/proc")


def kill_tree(pid: int) -> None:
    """pid: leads its group and is a child of this process, which does not reap it meanwhile."""
    with suppress(ProcessLookupError):
        # A stopped process starts no other, and stays the parent of those it has started.
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
    """Its children, their children, and so on, as long as the processes between have not ended."""
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
