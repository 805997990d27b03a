"""The processes of a contestant: starts and stops them, and reads their CPU time. Knows neither
what they serve nor how they are asked.

Failed: makes the error that says why a contestant could not be measured.
"""

import os
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil

READY_WITHIN_S, STOP_WITHIN_S = 120.0, 60.0
Failed = Callable[[str], Exception]


@contextmanager
def started(
    failed: Failed,
    command: Sequence[str],
    folder: Path,
    settings: Mapping[str, str],
    port: int | None,
    ready: str,
    *,
    cwd: Path | None = None,
) -> Iterator[psutil.Process]:
    """Its output goes to a file, as it would in production. ready: a path that answers 200 once it
    serves."""
    log = folder / "contestant.log"
    with log.open("wb") as output:
        process = psutil.Popen(
            command, cwd=cwd, env=environment() | settings, stdout=output, stderr=output, stdin=subprocess.DEVNULL
        )
    try:
        if port is not None:
            until(failed, process, lambda: _answers(f"http://127.0.0.1:{port}{ready}"))
        yield process
    except Exception as error:
        raise failed(f"{error}; its log ends with {log.read_text(errors='replace')[-600:]}") from error
    finally:
        _stop(process)


def _stop(process: psutil.Popen) -> None:
    """SIGTERM to the first process, which stops the others, and SIGKILL to those that are left."""
    all_of_it = [process, *process.children(recursive=True)]
    process.terminate()
    psutil.wait_procs([process], timeout=STOP_WITHIN_S)
    for each in all_of_it:
        if each.is_running():
            each.kill()
    process.wait()


def until(failed: Failed, process: psutil.Process, condition: Callable[[], bool]) -> None:
    end = time.monotonic() + READY_WITHIN_S
    while not condition():
        if not process.is_running() or process.status() == psutil.STATUS_ZOMBIE:
            raise failed("it ended while it started")
        if time.monotonic() > end:
            raise failed(f"it was not ready within {READY_WITHIN_S:.0f} s")
        time.sleep(0.1)


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5.0).status_code == 200
    except httpx.HTTPError:
        return False


def environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("HEADRACE_")}


def cpu_s(process: psutil.Process) -> dict[str, float]:
    """Of a process and all that it started, by the module or program that each runs."""
    parts: dict[str, float] = {}
    for each in [process, *process.children(recursive=True)]:
        try:
            times, command = each.cpu_times(), each.cmdline()
        except psutil.NoSuchProcess:
            continue
        if not command:  # It has ended, and its parent has not yet seen it.
            continue
        part = command[command.index("-m") + 1] if "-m" in command else Path(command[0]).name
        used_s = times.user + times.system + times.children_user + times.children_system
        parts[part] = parts.get(part, 0.0) + used_s
    return parts
