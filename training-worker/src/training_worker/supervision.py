"""Supervises the child process of an attempt: starts it, relays its reports, and ends it.

This module never imports torch. Only the child does. If the child crashes, the worker goes on.
"""

import errno
import os
import re
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import anyio
import msgspec
import structlog
from anyio.abc import Process
from anyio.streams.text import TextReceiveStream
from shared_schemas.codec import EncodedEvent, encoded_as
from shared_schemas.errors import AttemptFailed
from shared_schemas.events import Checkpointed, Logged, Measured, Progressed
from shared_schemas.service.child import without_secrets
from shared_schemas.service.failpoints import failpoint
from shared_schemas.store.files import ArtifactStore
from worker_runtime import Attempt, StopReason
from worker_runtime.outcomes import NO_PROCESS

from training_worker.messages import (
    Assignment,
    Crashed,
    Entered,
    Finished,
    Phase,
    Refused,
    Report,
    Stop,
    Stopped,
    decode_report,
    frame,
)
from training_worker.metrics import STEPS
from training_worker.pipe import Pipe
from training_worker.retention import Retention

# How long to wait for a child that was killed, or that has closed its pipe.
REAP_S = 5.0
# How long to wait for the last lines that the child printed. They come through another pipe than
# its last message, and may arrive later.
LAST_LINES_S = 1.0
LINE_CHARACTERS = 8192
_NEW_LINE = re.compile(r"[\r\n]+")
_THREADS = ("OMP_NUM_THREADS", "RAYON_NUM_THREADS")

End = Finished | Refused | Stopped


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """How long a child may report nothing, in seconds. stall_s: while it reads data and trains.
    start_s: while it loads PyTorch and while it exports. Those times depend on the machine more
    than on the job."""

    stall_s: float
    start_s: float


async def supervise(
    attempt: Attempt, assignment: Assignment, limits: Limits, *, checkpoints_kept: int, niceness: int = 0
) -> End:
    """Run the attempt in a child process and relay its reports to the timeline.

    niceness: of the child, see shared_schemas.service.child.give_way.
    checkpoints_kept: how many of the newest checkpoints stay in the store, besides the best one.
    -> how the child ended. AttemptFailed no_process, worker_process_died, training_stalled,
    recipe_failed, all retryable. However this ends, even by cancellation, no process of the child's
    session is left.
    """
    watchdog = _Watchdog(limits)
    retention = Retention(attempt, ArtifactStore(Path(assignment.artifacts_root)), kept=checkpoints_kept)
    await attempt.record(Logged(line="starting the training process, which loads PyTorch first"))
    async with _child(assignment, niceness) as (child, pipe):
        async with anyio.create_task_group() as group:
            all_lines = anyio.Event()
            group.start_soon(_relay_lines, child, attempt, all_lines)
            group.start_soon(_pass_on_stop, child, attempt)
            group.start_soon(watchdog.watch, child)
            group.start_soon(retention.run)
            relay = _Relay(attempt, watchdog, retention, steps_done=_steps_done(assignment))
            end = await relay.run(child, pipe)
            with anyio.move_on_after(LAST_LINES_S):
                await all_lines.wait()
            group.cancel_scope.cancel()
        if watchdog.has_killed:
            raise AttemptFailed("training_stalled", watchdog.reason(), retryable=True)
        if end is None:
            _kill(child)
            with anyio.move_on_after(REAP_S):
                await child.wait()
            message = f"the training process {_exit_of(child.returncode)}"
            raise AttemptFailed("worker_process_died", message, retryable=True)
    if isinstance(end, Crashed):
        structlog.get_logger().error("recipe_failed", job_id=attempt.job_id, traceback=end.traceback)
        raise AttemptFailed("recipe_failed", f"the training code failed with {end.type}", retryable=True)
    return end


class _Watchdog:
    """Kills a child that reports nothing for longer than the limit of its phase."""

    def __init__(self, limits: Limits) -> None:
        self._limits, self._phase, self.has_killed = limits, "starting", False
        self._reported_at = time.monotonic()
        self._entered = anyio.Event()

    def restart(self) -> None:
        """Call this whenever the child has reported something."""
        self._reported_at = time.monotonic()

    def enter(self, phase: Phase) -> None:
        self._phase = phase
        self._entered.set()
        self._entered = anyio.Event()

    def reason(self) -> str:
        did_not = {"starting": "did not load PyTorch within", "exporting": "did not export the model within"}
        return f"the training process {did_not.get(self._phase, 'made no step for')} {self._limit_s:g} s"

    async def watch(self, child: Process) -> None:
        # Every report moves the deadline. It is read again when it has passed, and when the child
        # enters a phase, whose limit may be shorter.
        while (left_s := self._reported_at + self._limit_s - time.monotonic()) > 0:
            with anyio.move_on_after(left_s):
                await self._entered.wait()
        self.has_killed = True
        _kill(child)

    @property
    def _limit_s(self) -> float:
        return self._limits.stall_s if self._phase == "training" else self._limits.start_s


@asynccontextmanager
async def _child(assignment: Assignment, niceness: int) -> AsyncIterator[tuple[Process, Pipe]]:
    """Start a child and send it its assignment. -> the child, and the pipe of its messages. However
    the block is left, no process of the child's session remains."""
    pipe = _pipe()
    # If this were cancelled half-way, it would leave a process behind that nobody waits for.
    with anyio.CancelScope(shield=True):
        try:
            child = await anyio.open_process(
                [sys.executable, "-m", "training_worker.child", str(os.getpid()), str(niceness)],
                stdout=pipe.writing,
                start_new_session=True,
                env=child_environment(assignment.threads),
            )
        except OSError as error:
            pipe.close()
            raise _no_process(error) from error
        finally:
            pipe.close_writing()
    try:
        assert child.stdin is not None  # noqa: S101 - a pipe by default
        with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError, BrokenPipeError):
            await child.stdin.send(frame(assignment))
        failpoint("child_started")
        yield child, pipe
    finally:
        _kill(child)
        pipe.close()
        with anyio.move_on_after(REAP_S, shield=True):
            await child.aclose()


def _pipe() -> Pipe:
    try:
        return Pipe()
    except OSError as error:
        raise _no_process(error) from error


def _no_process(error: OSError) -> AttemptFailed:
    message = f"no training process could be started ({errno.errorcode.get(error.errno or 0, 'unknown')})"
    return AttemptFailed(NO_PROCESS, message, retryable=True)


def child_environment(threads: int) -> dict[str, str]:
    """This process' environment without secrets, such as the password of Redis, which user code
    must not see. threads: of the libraries of the child; 0 lets each decide."""
    kept = without_secrets(os.environ)
    # PASSIVE: a waiting thread of torch sleeps, so that other processes can use its core.
    limits = {"OMP_WAIT_POLICY": "PASSIVE"} | (dict.fromkeys(_THREADS, str(threads)) if threads else {})
    # Unbuffered: the job's log shows what user code prints at once.
    return kept | limits | {"PYTHONUNBUFFERED": "1"}


class _Relay:
    """Passes on what the child reports to the timeline. steps_done: optimiser steps of earlier
    attempts, which are counted already."""

    def __init__(self, attempt: Attempt, watchdog: _Watchdog, retention: Retention, *, steps_done: int) -> None:
        self._attempt, self._watchdog, self._retention = attempt, watchdog, retention
        self._steps_done = steps_done
        self._ready: list[EncodedEvent] = []

    async def run(self, child: Process, pipe: Pipe) -> End | Crashed | None:
        """-> how the child ended; None if the pipe ended without a message that says so."""
        try:
            async for bodies in pipe.frames():
                self._watchdog.restart()
                for body in bodies:
                    end = await self._take(body)
                    if end is not None:
                        return end
                await self._pass_on()
        except (msgspec.MsgspecError, ValueError):
            # User code has written to the pipe, so nothing that follows can be trusted.
            return None
        # The pipe ends a moment before the process does. Its exit code is part of the error.
        with anyio.move_on_after(REAP_S):
            await child.wait()
        return None

    async def _take(self, body: bytes) -> End | Crashed | None:
        report: Report = decode_report(body)
        if isinstance(report, Measured | Progressed):
            self._ready.append(encoded_as(body, report))
            self._count_steps(report.step)
            return None
        if isinstance(report, Checkpointed):
            self._ready.append(encoded_as(body, report))
            await self._pass_on()
            self._retention.add(report)
            return None
        await self._pass_on()
        if isinstance(report, Entered):
            self._watchdog.enter(report.phase)
            return None
        if isinstance(report, Logged):
            await self._attempt.record(report)
            return None
        if isinstance(report, Finished | Stopped):
            await self._retention.prune()
        return report

    async def _pass_on(self) -> None:
        ready, self._ready = self._ready, []
        await self._attempt.pass_on(ready)

    def _count_steps(self, step: int | None) -> None:
        if step is not None and step > self._steps_done:
            STEPS.inc(step - self._steps_done)
            self._steps_done = step


def _steps_done(assignment: Assignment) -> int:
    """Optimiser steps of the attempts before this one."""
    checkpoint = assignment.checkpoint
    return 0 if checkpoint is None or assignment.starts_new_run else checkpoint.step


async def _relay_lines(child: Process, attempt: Attempt, all_lines: anyio.Event) -> None:
    """Record what the child prints as lines of the log. A line that does not end is cut after
    LINE_CHARACTERS, so that it does not fill the memory of the worker."""
    assert child.stderr is not None  # noqa: S101 - a pipe by default
    rest = ""
    with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
        async for text in TextReceiveStream(child.stderr, errors="replace"):
            *lines, rest = _NEW_LINE.split(rest + text)
            if len(rest) > LINE_CHARACTERS:
                lines, rest = [*lines, rest], ""
            for line in lines:
                if line.strip():
                    await attempt.record(Logged(line=line))
    if rest.strip():
        await attempt.record(Logged(line=rest))
    all_lines.set()


async def _pass_on_stop(child: Process, attempt: Attempt) -> None:
    if await attempt.stopped() in (StopReason.DRAINING, StopReason.PAUSED):
        assert child.stdin is not None  # noqa: S101 - a pipe by default
        # If the pipe is closed, the child has ended by itself, and its last message says how.
        with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError, BrokenPipeError):
            await child.stdin.send(frame(Stop()))


def _kill(child: Process) -> None:
    """Kill the child and every process that it has started. It leads a session of its own."""
    with suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)


def _exit_of(returncode: int | None) -> str:
    if returncode is None:
        return "closed its pipe"
    if returncode < 0:
        return f"was ended by {signal.Signals(-returncode).name}"
    return f"exited with {returncode}"
