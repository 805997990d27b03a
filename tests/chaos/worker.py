"""A worker that does what the input of each job says, and writes down what it did.

    python -m tests.chaos.worker HISTORY

input_data: {"do": one of the verbs below, "nonce": a text that marks every trace of the job, "n":
how much}. The worker knows nothing of the faults around it. Settings come from the environment, as
in production.
"""

import os
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import msgspec
from shared_schemas.errors import AttemptFailed
from shared_schemas.events import Emitted, Progressed
from shared_schemas.outcome import Release, Success
from shared_schemas.service.settings import from_environ
from shared_schemas.specs import InferenceSpec
from worker_runtime import Attempt, RuntimeSettings, configure_logs, run_worker

from tests.chaos.history import Attempted, History
from tests.support.worker_process import Handler

CRASHED = 77


async def answer(attempt: Attempt, given: dict[str, Any]) -> None:
    """Succeed at once."""


async def emit(attempt: Attempt, given: dict[str, Any]) -> None:
    for part in range(given["n"]):
        await attempt.record(Emitted(chunk=f"{given['nonce']} attempt={attempt.number} part={part}"))
        await attempt.record(Progressed(fraction=part / given["n"]))
        await anyio.sleep(0.02)


async def flake(attempt: Attempt, given: dict[str, Any]) -> None:
    """Fail with a retryable error in the first n attempts."""
    if attempt.number <= given["n"]:
        raise AttemptFailed("flaked", f"{given['nonce']} attempt={attempt.number}", retryable=True)


async def fail(attempt: Attempt, given: dict[str, Any]) -> None:
    raise AttemptFailed("hopeless", f"{given['nonce']} attempt={attempt.number}")


async def sleep(attempt: Attempt, given: dict[str, Any]) -> Release | None:
    """Take n tenths of a second, but stop early if asked to."""
    with anyio.move_on_after(given["n"] / 10):
        await attempt.stopped()
        return Release()
    return None


async def ignore(attempt: Attempt, given: dict[str, Any]) -> None:
    """Take n tenths of a second, and ignore requests to stop."""
    await anyio.sleep(given["n"] / 10)


async def crash(attempt: Attempt, given: dict[str, Any]) -> None:
    await attempt.flush()
    os._exit(CRASHED)


VERBS: dict[str, Callable[[Attempt, dict[str, Any]], Awaitable[Release | None]]] = {
    verb.__name__: verb for verb in (answer, emit, flake, fail, sleep, ignore, crash)
}


async def by_input(attempt: Attempt, *, history: History, worker: str) -> Success | Release:
    assert isinstance(attempt.spec, InferenceSpec)
    given = attempt.spec.input_data

    def note(what: str) -> None:
        history.append(
            Attempted(
                worker=worker,
                job=attempt.job_id,
                attempt=attempt.number,
                fence=attempt.fence,
                what=what,
                nonce=given["nonce"],
            )
        )

    note("begin")
    try:
        released = await VERBS[given["do"]](attempt, given)
        note("effect")
    finally:
        note("end")
    if released is not None:
        return released
    result = {"nonce": given["nonce"], "attempt": attempt.number, "fence": attempt.fence}
    return Success(msgspec.Raw(msgspec.json.encode(result)))


if __name__ == "__main__":
    configure_logs("json")
    settings = from_environ(RuntimeSettings, prefix="HEADRACE_", environ=os.environ)
    behaviour = partial(by_input, history=History(Path(sys.argv[1])), worker=f"worker-{os.getpid()}")
    run_worker(settings, Handler(behaviour))
