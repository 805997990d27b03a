"""What a worker's child process needs, which runs code or files of users: it dies with its worker, has no
secrets, and gives way to other processes. Knows no worker.
"""

import ctypes
import os
import re
import signal
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

PR_SET_PDEATHSIG = 1
# proc(5): when memory runs out, the kernel kills the process with the highest score first.
OOM_SCORE_FIRST = "1000"
_SECRET = re.compile(r"HEADRACE_REDIS|PASSWORD|SECRET|TOKEN", re.IGNORECASE)


def die_with(parent: int) -> None:
    """Exit if the parent is already dead. On Linux, the kernel also kills this process when the
    parent dies for any reason, and before the parent when memory runs out."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        Path("/proc/self/oom_score_adj").write_text(OOM_SCORE_FIRST)
    if os.getppid() != parent:
        # The parent had died before prctl was called.
        os._exit(1)


def give_way(niceness: int) -> None:
    """Let other processes of the machine run first. niceness: from 0, which changes nothing, to 19. To be called before
    this process starts threads, which inherit it. What the system does not allow is left out."""
    if not niceness:
        return
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, max(niceness, os.getpriority(os.PRIO_PROCESS, 0)))
    if sys.platform != "linux":
        return
    with suppress(OSError):
        # It never takes a core away from a process that has just been woken.
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    if os.getsid(0) == os.getpid():
        # sched(7): where the kernel groups processes by session, niceness counts only within a session. Between
        # sessions, that of the session counts.
        with suppress(OSError):
            Path("/proc/self/autogroup").write_text(str(niceness))


def without_secrets(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment without secrets, such as the password of Redis."""
    return {name: value for name, value in environ.items() if not _SECRET.search(name)}
