"""A process for one attempt: takes an assignment from the supervisor and tells how it goes. Knows no Redis, no job id.

A crash, an out-of-memory kill or a poisoned CUDA context ends this process and nothing else. It dies with its parent,
from its first moment on: torch, which takes seconds to import, is imported by `_run` alone.
"""

import ctypes
import os
import signal
import sys
import threading
import traceback
from pathlib import Path
from typing import IO

from shared_schemas.errors import ErrorInfo, HeadraceError
from shared_schemas.events import JobEvent

from training_worker.messages import (
    Crashed,
    Entered,
    Finished,
    Phase,
    Refused,
    Stopped,
    decode_assignment,
    frame,
    read_frame,
)

PR_SET_PDEATHSIG = 1
# proc(5): the kernel ends the process with the highest score first.
OOM_SCORE_FIRST = "1000"


class Line:
    """The pipe to the supervisor."""

    def __init__(self, target: IO[bytes]) -> None:
        self._target, self._lock = target, threading.Lock()

    def send(self, message: JobEvent | Entered | Finished | Refused | Crashed | Stopped) -> None:
        with self._lock:
            self._target.write(frame(message))
            self._target.flush()

    def enter(self, phase: Phase) -> None:
        self.send(Entered(phase))


def main() -> None:
    parent = int(sys.argv[1])
    _die_with(parent)
    # Frames go out by the pipe that was standard output; whatever user code prints becomes lines of the log.
    line = Line(os.fdopen(os.dup(1), "wb"))
    os.dup2(2, 1)
    source = sys.stdin.buffer
    body = read_frame(source)
    if body is None:
        return
    begun, stop = threading.Event(), threading.Event()
    threading.Thread(target=_listen, args=(source, line, begun, stop), daemon=True).start()
    _run(body, line, begun, stop)
    sys.stdout.flush()
    sys.stderr.flush()
    # Without the interpreter's farewell: threads of torch or of user code may not want to end.
    os._exit(0)


def _run(body: bytes, line: Line, begun: threading.Event, stop: threading.Event) -> None:
    try:
        from recipe_kit.context import StoppedEarlyError

        from training_worker.training import train

        begun.set()
        try:
            line.send(train(decode_assignment(body), report=line.send, should_stop=stop.is_set, enter=line.enter))
        except StoppedEarlyError:
            line.send(Stopped())
    except HeadraceError as error:
        line.send(Refused(error=error.info()))
    except Exception as error:  # the boundary where any failure of a recipe becomes a typed one
        line.send(_failure(error))


def _failure(error: Exception) -> Refused | Crashed:
    import torch

    # torch raises a plain RuntimeError where memory of the host runs out.
    is_memory = isinstance(error, MemoryError | torch.OutOfMemoryError) or "DefaultCPUAllocator" in str(error)
    if is_memory:
        message = "the training process ran out of memory"
        return Refused(error=ErrorInfo(code="out_of_memory", message=message))
    return Crashed(type=type(error).__name__, traceback="".join(traceback.format_exception(error)))


def _listen(source: IO[bytes], line: Line, begun: threading.Event, stop: threading.Event) -> None:
    """Any frame after the assignment asks to stop. The end of the pipe means that the supervisor is gone."""
    if read_frame(source) is None:
        os._exit(1)
    stop.set()
    if not begun.is_set():
        # Nothing is done that could be saved, and torch may still take seconds.
        line.send(Stopped())
        os._exit(0)


def _die_with(parent: int) -> None:
    """Be killed when the supervisor dies, however it dies, and before it when memory runs out."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        Path("/proc/self/oom_score_adj").write_text(OOM_SCORE_FIRST)
    if os.getppid() != parent:
        # It died before the line above.
        os._exit(1)


if __name__ == "__main__":
    main()
