"""Runs a part of Headrace with one failpoint armed. Nothing else arms a failpoint.

    python -m tests.support.armed ACTION POINT NTH MODULE [ARGUMENT …]

ACTION: kill (SIGKILL to itself), stop (SIGSTOP to itself), block:SECONDS (the thread that reaches
it waits), or break (RuntimeError there from then on, as from a lost device).

POINT: a name given to `shared_schemas.service.failpoints.failpoint`, such as before_settle. NTH: the time
at which it acts when the point is reached, from 1.

MODULE: what to run, as with `python -m MODULE`. `child:MODULE` arms the child processes that MODULE
starts, and not MODULE itself.
"""

import os
import runpy
import signal
import stat
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from shared_schemas.service import failpoints

ROOT = Path(__file__).parents[2]


def command(action: str, point: str, module: str, *arguments: str, nth: int = 1) -> list[str]:
    """The command line that runs `module` with the failpoint armed. Its working directory must be
    ROOT."""
    return [sys.executable, "-m", "tests.support.armed", action, point, str(nth), module, *arguments]


def arm(action: str, point: str, nth: int) -> None:
    act, lock, left, is_lasting = _action(action), threading.Lock(), nth, action == "break"

    def reached(name: str) -> None:
        nonlocal left
        if name != point:
            return
        with lock:
            left -= 1
            is_due = left == 0 or (left < 0 and is_lasting)
        if is_due:
            act()

    failpoints.arm(reached)


def _action(text: str) -> Callable[[], None]:
    verb, _, seconds = text.partition(":")
    match verb:
        case "kill":
            return lambda: os.kill(os.getpid(), signal.SIGKILL)
        case "stop":
            return lambda: os.kill(os.getpid(), signal.SIGSTOP)
        case "block":
            return lambda: time.sleep(float(seconds))
        case "break":
            return _fail
        case _:
            raise SystemExit(f"no such action: {verb}")


def _fail() -> None:
    raise RuntimeError("the device is lost")


def _interpreter(action: str, point: str, nth: str) -> str:
    """An executable to use as the interpreter. It runs `-m MODULE …` with the failpoint armed."""
    path = Path(tempfile.mkdtemp(prefix="hr-armed-")) / "python"
    path.write_text(
        f'#!/bin/sh\nshift\ncd "{ROOT}" && exec "{sys.executable}" -m tests.support.armed {action} {point} {nth} "$@"\n'
    )
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def main() -> None:
    action, point, nth, module, *arguments = sys.argv[1:]
    if module.startswith("child:"):
        module = module.removeprefix("child:")
        sys.executable = _interpreter(action, point, nth)
    else:
        arm(action, point, int(nth))
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
