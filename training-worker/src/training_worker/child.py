"""The child process of one attempt: receives an assignment, trains, and reports to its supervisor.

A crash, an out-of-memory kill or a poisoned CUDA context ends only this process. It dies with its
supervisor. Only `_run` imports torch, which takes seconds, so that the child is tied to its
supervisor before that. It knows no Redis and no job id.
"""

import os
import sys
import threading
import traceback
from typing import IO

from shared_schemas.errors import ErrorInfo, HeadraceError
from shared_schemas.events import JobEvent
from shared_schemas.service.child import die_with, give_way

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


class MessageWriter:
    """Writes messages to the supervisor. Any thread may call it."""

    def __init__(self, target: IO[bytes]) -> None:
        self._target, self._lock = target, threading.Lock()

    def send(self, message: JobEvent | Entered | Finished | Refused | Crashed | Stopped) -> None:
        with self._lock:
            self._target.write(frame(message))
            self._target.flush()

    def enter(self, phase: Phase) -> None:
        self.send(Entered(phase))


def main() -> None:
    """Arguments: the id of the supervisor's process, and the niceness."""
    parent, niceness = map(int, sys.argv[1:])
    die_with(parent)
    give_way(niceness)
    # Standard output is the pipe for messages. What user code prints goes to standard error
    # instead, and becomes lines of the job's log.
    messages = MessageWriter(os.fdopen(os.dup(1), "wb"))
    os.dup2(2, 1)
    source = sys.stdin.buffer
    body = read_frame(source)
    if body is None:
        return
    begun, stop = threading.Event(), threading.Event()
    threading.Thread(target=_follow_supervisor, args=(source, messages, begun, stop), daemon=True).start()
    _run(body, messages, begun, stop)
    sys.stdout.flush()
    sys.stderr.flush()
    # This skips the interpreter's shutdown, which would wait for threads of torch or of user code.
    os._exit(0)


def _run(body: bytes, messages: MessageWriter, begun: threading.Event, stop: threading.Event) -> None:
    """body: the encoded assignment. begun: set once training may begin. stop: set when the
    supervisor asks to stop."""
    try:
        from recipe_kit.context import StoppedEarlyError

        from training_worker.training import train

        begun.set()
        try:
            assignment = decode_assignment(body)
            finished = train(assignment, report=messages.send, should_stop=stop.is_set, enter=messages.enter)
            messages.send(finished)
        except StoppedEarlyError:
            messages.send(Stopped())
    except HeadraceError as error:
        messages.send(Refused(error=error.info()))
    except Exception as error:  # the boundary where any failure of a recipe becomes a typed one
        messages.send(_failure(error))


def _failure(error: Exception) -> Refused | Crashed:
    import torch

    # When the host runs out of memory, torch raises a plain RuntimeError that names its allocator.
    is_memory = isinstance(error, MemoryError | torch.OutOfMemoryError) or "DefaultCPUAllocator" in str(error)
    if is_memory:
        message = "the training process ran out of memory"
        return Refused(error=ErrorInfo(code="out_of_memory", message=message))
    return Crashed(type=type(error).__name__, traceback="".join(traceback.format_exception(error)))


def _follow_supervisor(
    source: IO[bytes], messages: MessageWriter, begun: threading.Event, stop: threading.Event
) -> None:
    """Any message after the assignment asks to stop. If the pipe ends, the supervisor is gone."""
    if read_frame(source) is None:
        os._exit(1)
    stop.set()
    if not begun.is_set():
        # There is nothing to save yet, and loading torch may still take seconds.
        messages.send(Stopped())
        os._exit(0)


if __name__ == "__main__":
    main()
