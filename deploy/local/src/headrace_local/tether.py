"""Runs a command that dies with the process that started it: `python -I -S tether.py PARENT SIGNAL
COMMAND…`.

Only Linux can do this (prctl PR_SET_PDEATHSIG, which survives exec). Elsewhere the command just
runs. Imports only what is fast to import, because it runs before every service.
"""

import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main() -> None:
    parent, signal_number, command = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal_number, 0, 0, 0)
        if os.getppid() != parent:
            # The parent died before the call above, so the signal would never come.
            sys.exit(1)
    # The thread that started this process blocks all signals, and a process inherits that.
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    os.execvp(command[0], command)  # noqa: S606 - a command of ours, not of a user


if __name__ == "__main__":
    main()
