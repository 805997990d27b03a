"""One service as a process: starts it, restarts it if it dies, and stops it. Knows no jobs.

For each service, one thread waits for the process and another one reads its output. Each process
leads a group of its own, so that a Ctrl-C in the terminal reaches only this process. Services die
with this process (tether.py).
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from shared_schemas.backoff import Backoff

from headrace_local import tether
from headrace_local.logs import Log
from headrace_local.processes import kill_tree

_FIRST_DELAY_S = 0.5
_LONGEST_DELAY_S = 15.0
# After a process has run this long, its next death counts as the first.
_HEALTHY_AFTER_S = 30.0
_KILL_WAIT_S = 10.0
_LAST_OUTPUT_S = 2.0


class Service:
    """dies_by: the signal that the service gets when this process dies. deaths: how often it ended
    by itself."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        environment: Mapping[str, str],
        log: Log,
        dies_by: signal.Signals = signal.SIGKILL,
    ) -> None:
        self.name, self.deaths = name, 0
        self._command, self._environment, self._log, self._dies_by = list(command), dict(environment), log, dies_by
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._supervise, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    @property
    def pid(self) -> int | None:
        # Not poll(): it would reap the process. Its id could then belong to another process before
        # the group is killed.
        process = self._process
        return None if process is None or process.returncode is not None else process.pid

    def ask_to_stop(self) -> None:
        """Send SIGTERM, which drains the service. It is not started again."""
        with self._lock:
            self._stopping.set()
            if self.pid is not None:
                with suppress(ProcessLookupError):
                    os.killpg(self.pid, signal.SIGTERM)

    def kill(self) -> None:
        """Kill the process and all that it has started."""
        with self._lock:
            self._stopping.set()
            if self.pid is not None:
                kill_tree(self.pid)

    def wait(self, *, timeout_s: float) -> bool:
        """-> whether the process ended in time"""
        if self._thread.ident is None:
            return True
        self._thread.join(max(0.0, timeout_s))
        return not self._thread.is_alive()

    def _supervise(self) -> None:
        _block_signals()
        backoff = Backoff(first_s=_FIRST_DELAY_S, cap_s=_LONGEST_DELAY_S, jitter=0.0)
        while True:
            with self._lock:
                if self._stopping.is_set():
                    return
                self._process = process = self._spawn()
            began = time.monotonic()
            reader = threading.Thread(target=self._log_output, args=(process,), name=f"{self.name} log", daemon=True)
            reader.start()
            code = _wait_with_group(process)
            reader.join(_LAST_OUTPUT_S)
            if self._stopping.is_set():
                return
            self.deaths += 1
            if time.monotonic() - began > _HEALTHY_AFTER_S:
                backoff.reset()
            delay_s = backoff.next_s()
            self._log.death(self.name, f"ended by itself ({_cause(code)}); again in {delay_s:g} s")
            self._stopping.wait(delay_s)

    def _spawn(self) -> "subprocess.Popen[bytes]":
        tethered = [sys.executable, "-I", "-S", str(Path(tether.__file__)), str(os.getpid()), str(int(self._dies_by))]
        return subprocess.Popen(
            [*tethered, *self._command],
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            process_group=0,
        )

    def _log_output(self, process: "subprocess.Popen[bytes]") -> None:
        _block_signals()
        if process.stdout is None:
            return
        with process.stdout as lines:
            for line in lines:
                written = line.decode(errors="replace").rstrip()
                if written:
                    self._log.line(self.name, written)


def stop(services: Sequence[Service], *, grace_s: float, log: Log) -> None:
    """Ask all services to stop, and kill those that have not ended after grace_s."""
    end = time.monotonic() + grace_s
    for service in services:
        service.ask_to_stop()
    for service in services:
        if not service.wait(timeout_s=end - time.monotonic()):
            log.note(service.name, f"did not end within {grace_s:g} s: killed", style="bold red")
            service.kill()
            service.wait(timeout_s=_KILL_WAIT_S)


def kill(services: Sequence[Service]) -> None:
    for service in services:
        service.kill()
    for service in services:
        service.wait(timeout_s=_KILL_WAIT_S)


def _block_signals() -> None:
    """Leave signals to the main thread: Python handles them there, and a signal that another thread
    receives does not interrupt its wait. Processes that this thread starts inherit the mask, and
    tether.py removes it."""
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())


def _wait_with_group(process: "subprocess.Popen[bytes]") -> int:
    """Wait for the process to end, and kill the processes that it leaves behind."""
    if hasattr(os, "waitid"):
        # While the process is not reaped, its id cannot belong to another group.
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    return process.wait()


def _cause(code: int) -> str:
    return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
