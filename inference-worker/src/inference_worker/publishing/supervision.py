"""Supervises the child process that checks a file: starts it, relays its phases, and ends it.

This module never loads ONNX Runtime. Whatever the child does, only the job fails.
"""

import errno
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import anyio
import msgspec
import structlog
from anyio.abc import Process
from anyio.streams.buffered import BufferedByteReceiveStream
from shared_schemas.errors import AttemptFailed
from shared_schemas.events import Logged, Progressed
from shared_schemas.service.child import without_secrets
from shared_schemas.service.failpoints import failpoint
from worker_runtime import Attempt
from worker_runtime.outcomes import NO_PROCESS

from inference_worker.publishing.messages import (
    LONGEST_LINE,
    Assignment,
    Checked,
    Entered,
    Phase,
    Refused,
    decode_report,
    line_of,
)

# How long a child may take to start, which loads ONNX Runtime, s.
START_S = 120.0
# How long to wait for a child that was killed, or that has closed its pipe, s.
REAP_S = 5.0
# The end of what a child prints, for the log of the worker.
_KEPT_OUTPUT = 4096
_FRACTIONS: dict[Phase, float] = {"checking": 0.0, "loading": 0.3, "running": 0.7}
_LINES: dict[Phase, str] = {
    "checking": "checking the file",
    "loading": "loading the model in a process of its own",
    "running": "running the model once",
}
_DID_NOT: dict[Phase, str] = {"checking": "check the file", "loading": "load the model", "running": "run the model"}


async def check(attempt: Attempt, assignment: Assignment) -> Checked:
    """Check the file in a child process. AttemptFailed with the error that the child reported;
    model_timeout; model_unsupported if the child crashed; no_process and worker_process_died, both
    retryable. However this ends, no process of the child's session is left."""
    phase: Phase | None = None
    output = bytearray()
    async with _child() as child:
        async with anyio.create_task_group() as group:
            group.start_soon(_keep_end, child, output)
            end: Checked | Refused | None = None
            with anyio.move_on_after(START_S) as limit:
                await _send(child, assignment)
                async for report in _reports(child):
                    if isinstance(report, Entered):
                        if phase is None:
                            limit.deadline = anyio.current_time() + assignment.timeout_s
                        phase = report.phase
                        failpoint("probe_reported")
                        await attempt.record(Logged(line=_LINES[phase]))
                        await attempt.record(Progressed(fraction=_FRACTIONS[phase], message=phase))
                    else:
                        end = report
                        break
            if end is None and not limit.cancelled_caught:
                # The pipe ends a moment before the process does.
                with anyio.move_on_after(REAP_S):
                    await child.wait()
            group.cancel_scope.cancel()
        returncode = child.returncode
    match end:
        case Checked():
            return end
        case Refused(error=error, traceback=traceback):
            if traceback:
                structlog.get_logger().error("probe_failed", job_id=attempt.job_id, output=traceback[-_KEPT_OUTPUT:])
            raise AttemptFailed(error.code, error.message, retryable=error.retryable)
    if output:
        structlog.get_logger().warning(
            "probe_failed", job_id=attempt.job_id, output=bytes(output[-_KEPT_OUTPUT:]).decode(errors="replace")
        )
    if limit.cancelled_caught and phase is not None:
        raise AttemptFailed(
            "model_timeout", f"the process did not {_DID_NOT[phase]} within {assignment.timeout_s:g} s of its start"
        )
    raise _death(returncode, phase)


def _death(returncode: int | None, phase: Phase | None) -> AttemptFailed:
    """A crash is the model's fault, and would come again. SIGKILL comes from outside: from the kernel when memory
    runs out, or from a person."""
    if returncode is not None and returncode < 0 and returncode != -signal.SIGKILL and phase in ("loading", "running"):
        name = signal.Signals(-returncode).name
        return AttemptFailed("model_unsupported", f"ONNX Runtime crashed with {name} while {phase} the model")
    how = (
        "closed its pipe"
        if returncode is None
        else f"was ended by {signal.Signals(-returncode).name}"
        if returncode < 0
        else f"exited with {returncode}"
    )
    return AttemptFailed("worker_process_died", f"the process that checks the file {how}", retryable=True)


@asynccontextmanager
async def _child() -> AsyncIterator[Process]:
    """However the block is left, no process of the child's session remains."""
    # If this were cancelled half-way, it would leave a process behind that nobody waits for.
    with anyio.CancelScope(shield=True):
        try:
            child = await anyio.open_process(
                [sys.executable, "-m", "inference_worker.publishing.child", str(os.getpid())],
                start_new_session=True,
                env=without_secrets(os.environ),
            )
        except OSError as error:
            name = errno.errorcode.get(error.errno or 0, "unknown")
            raise AttemptFailed(NO_PROCESS, f"no process could be started ({name})", retryable=True) from error
    try:
        yield child
    finally:
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        with anyio.move_on_after(REAP_S, shield=True):
            await child.aclose()


async def _send(child: Process, assignment: Assignment) -> None:
    assert child.stdin is not None  # noqa: S101 - a pipe by default
    with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError, BrokenPipeError):
        await child.stdin.send(line_of(assignment))
        await child.stdin.aclose()


async def _reports(child: Process) -> AsyncIterator[Entered | Checked | Refused]:
    """Until the pipe ends, or holds what no child would send."""
    assert child.stdout is not None  # noqa: S101 - a pipe by default
    lines = BufferedByteReceiveStream(child.stdout)
    with suppress(anyio.EndOfStream, anyio.IncompleteRead, anyio.DelimiterNotFound, msgspec.MsgspecError):
        while True:
            yield decode_report(await lines.receive_until(b"\n", LONGEST_LINE))


async def _keep_end(child: Process, output: bytearray) -> None:
    assert child.stderr is not None  # noqa: S101 - a pipe by default
    with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
        async for piece in child.stderr:
            output += piece
            del output[:-_KEPT_OUTPUT]
