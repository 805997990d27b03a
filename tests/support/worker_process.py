"""A real worker as a process of its own, for tests that kill, stop and end it.

    python -m tests.support.worker_process <behaviour>

behaviour: what its handler does with a job, one of BEHAVIOURS. Settings come from the environment,
as in production.
"""

import os
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import anyio
import msgspec
from shared_schemas.errors import AttemptFailed
from shared_schemas.events import Emitted
from shared_schemas.kinds import JobKind
from shared_schemas.outcome import Release, Success
from shared_schemas.service.settings import from_environ
from shared_schemas.specs import InferenceSpec
from worker_runtime import Attempt, RuntimeSettings, configure_logs, run_worker

from tests.support.armed import ROOT
from tests.support.armed import command as armed_command


async def answer(attempt: Attempt) -> Success:
    return Success(msgspec.Raw(msgspec.json.encode(attempt.number)))


async def say(attempt: Attempt) -> Success:
    await attempt.record(Emitted(chunk=f"attempt {attempt.number}"))
    await attempt.flush()
    return await answer(attempt)


async def hang(attempt: Attempt) -> Success:
    """Record an event, then wait for ever."""
    await attempt.record(Emitted(chunk=f"attempt {attempt.number}"))
    await anyio.sleep_forever()
    raise AssertionError("unreachable")


async def speak(attempt: Attempt) -> Success:
    """Emit a part every twentieth of a second, for three seconds."""
    for n in range(60):
        await attempt.record(Emitted(chunk=f"{n} "))
        await anyio.sleep(0.05)
    return await answer(attempt)


async def linger(attempt: Attempt) -> Success:
    await anyio.sleep(0.5)
    return await answer(attempt)


async def block(attempt: Attempt) -> Success:
    """Block the event loop for several leases, as a careless handler would."""
    await attempt.record(Emitted(chunk="blocking"))
    await attempt.flush()
    time.sleep(4)  # noqa: ASYNC251 - the fault under test
    return await answer(attempt)


async def freeze(attempt: Attempt) -> Success:
    """Block the event loop for longer than a health probe waits."""
    await attempt.record(Emitted(chunk="freezing"))
    await attempt.flush()
    time.sleep(10)  # noqa: ASYNC251 - the fault under test
    return await answer(attempt)


async def crash(attempt: Attempt) -> Success:
    await attempt.record(Emitted(chunk="crashing"))
    await attempt.flush()
    os._exit(1)


async def refuse(attempt: Attempt) -> Success:
    raise AttemptFailed("data_empty", "there is nothing in it", row=3)


async def stumble(attempt: Attempt) -> Success:
    raise AttemptFailed("disk_full", f"no room in attempt {attempt.number}", retryable=True)


async def let_go(attempt: Attempt) -> Success | Release:
    """Release the job as soon as the attempt is asked to stop."""
    await attempt.record(Emitted(chunk="waiting"))
    await attempt.stopped()
    return Release()


async def tick(attempt: Attempt) -> Success:
    """Emit a part every twentieth of a second, for ever."""
    for n in count():
        await attempt.record(Emitted(chunk=f"{n} "))
        await anyio.sleep(0.05)
    raise AssertionError("unreachable")


async def rest(attempt: Attempt) -> Success:
    """Take as many seconds as the job's input says."""
    assert isinstance(attempt.spec, InferenceSpec)
    assert isinstance(attempt.spec.input_data, float)
    await anyio.sleep(attempt.spec.input_data)
    return await answer(attempt)


async def obey(attempt: Attempt) -> Success | Release:
    """Do what the job's input says."""
    assert isinstance(attempt.spec, InferenceSpec)
    return await BEHAVIOURS[str(attempt.spec.input_data)](attempt)


BEHAVIOURS = {
    f.__name__: f
    for f in (answer, say, hang, speak, linger, block, freeze, crash, refuse, stumble, let_go, tick, rest, obey)
}


class Handler:
    kind = JobKind.INFERENCE

    def __init__(self, behaviour: Callable[[Attempt], Awaitable[Success | Release]]) -> None:
        self._run = behaviour

    def describe(self) -> dict[str, str]:
        return {}

    async def run(self, attempt: Attempt) -> Success | Release:
        return await self._run(attempt)


@contextmanager
def worker_process(
    redis_url: str,
    behaviour: str,
    *,
    lease_s: float = 1.0,
    armed: tuple[str, str] | None = None,
    armed_nth: int = 1,
    environment: Mapping[str, str] | None = None,
    log: Path = Path(os.devnull),
    **settings: object,
) -> Iterator[subprocess.Popen[bytes]]:
    """A worker process, killed at the end of the block. armed: an action and the failpoint where it
    happens, the armed_nth time that the point is reached. environment: added to the test's own.
    log: the file for its log."""
    module = "tests.support.worker_process"
    command = [sys.executable, "-m", module, behaviour]
    named = {f"HEADRACE_{name.upper()}": str(value) for name, value in settings.items()}
    if armed is not None:
        command = armed_command(*armed, module, behaviour, nth=armed_nth)
    with log.open("ab") as log_file:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={
                **os.environ,
                "HEADRACE_REDIS_URL": redis_url,
                "HEADRACE_LEASE_S": str(lease_s),
                **named,
                **(environment or {}),
            },
            stderr=log_file,
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


if __name__ == "__main__":
    configure_logs("json")
    run_worker(from_environ(RuntimeSettings, prefix="HEADRACE_", environ=os.environ), Handler(BEHAVIOURS[sys.argv[1]]))
