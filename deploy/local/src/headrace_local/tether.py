"""Run a command that dies with the process that started it: `python -I -S tether.py PARENT SIGNAL COMMAND…`.

Linux alone has the means (prctl PR_SET_PDEATHSIG, which survives exec); elsewhere the command just runs.
Standard library only, and nothing that is slow to import: it stands before every service.
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
            # The parent died before the line above; nobody would send the signal any more.
            sys.exit(1)
    # The thread that started this takes no signals; the command does.
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    os.execvp(command[0], command)  # noqa: S606 - a command of ours, not of a user


if __name__ == "__main__":
    main()
