"""The first seconds of a training process, in which it does nothing but import torch."""

import sys
from pathlib import Path

import anyio
import psutil
import pytest
from shared_schemas.errors import AttemptFailed
from shared_schemas.outcome import Release
from worker_runtime import StopReason

from tests.support.attempts import CollectingAttempt
from tests.support.odd_recipes import ROOT
from tests.training.test_handler import (
    STARTED_S,
    Published,
    attempt_at,
    children,
    handler_for,
    lines_of,
    stopped_by,
)


@pytest.fixture
def endless_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A torch whose import never ends. -> the folder it is in."""
    torch = tmp_path / "site" / "torch"
    torch.mkdir(parents=True)
    (torch / "__init__.py").write_text("import time\nprint('loading', flush=True)\ntime.sleep(600)\n")
    monkeypatch.setenv("PYTHONPATH", str(torch.parent))
    return torch.parent


def loads(attempt: CollectingAttempt) -> bool:
    return "loading" in lines_of(attempt)


async def test_the_start_is_in_the_log_before_anything_that_the_process_prints(
    tmp_path: Path, endless_torch: Path
) -> None:
    attempt = attempt_at(tmp_path)
    async with anyio.create_task_group() as group:
        group.start_soon(handler_for(tmp_path, Published()).run, attempt)
        await attempt.until(lambda _: loads(attempt), within_s=STARTED_S)
        group.cancel_scope.cancel()

    assert lines_of(attempt) == ["starting the training process, which loads PyTorch first", "loading"]


async def test_loading_torch_is_not_a_stall_and_has_a_limit_of_its_own(tmp_path: Path, endless_torch: Path) -> None:
    attempt = attempt_at(tmp_path)

    with pytest.raises(AttemptFailed) as caught:
        # The process outlives the limit of a step, or the message would be about a step.
        await handler_for(tmp_path, Published(), stall_timeout_s=0.1, start_timeout_s=3.0).run(attempt)

    info = caught.value.info()
    assert (info.code, info.retryable) == ("training_stalled", True)
    assert info.message == "the training process did not load PyTorch within 3 s"
    assert children() == []


@pytest.mark.parametrize("reason", [StopReason.DRAINING, StopReason.PAUSED])
async def test_an_attempt_that_still_loads_torch_is_given_back_at_once(
    tmp_path: Path, endless_torch: Path, reason: StopReason
) -> None:
    attempt = attempt_at(tmp_path)

    outcome = await stopped_by(reason, handler_for(tmp_path, Published()), attempt, when=lambda _: loads(attempt))

    assert isinstance(outcome, Release)
    assert children() == []


async def test_a_child_that_still_loads_torch_dies_with_its_supervisor(
    tmp_path: Path, endless_torch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Only the child gets the endless torch, because the script itself may import torch.
    monkeypatch.delenv("PYTHONPATH")
    script = f"""
import os
import anyio
from pathlib import Path
from tests.training.test_handler import Published, attempt_at, handler_for
from tests.training.test_starting import loads
os.environ["PYTHONPATH"] = {str(endless_torch)!r}
async def main():
    attempt = attempt_at(Path({str(tmp_path)!r}))
    async with anyio.create_task_group() as group:
        group.start_soon(handler_for(Path({str(tmp_path)!r}), Published()).run, attempt)
        await attempt.until(lambda events: loads(attempt), within_s={STARTED_S})
        print("ready", flush=True)
        await anyio.sleep_forever()
anyio.run(main)
"""
    async with await anyio.open_process([sys.executable, "-c", script], cwd=ROOT, stderr=None) as supervisor:
        assert supervisor.stdout is not None
        with anyio.fail_after(STARTED_S):
            await supervisor.stdout.receive()
        [child] = psutil.Process(supervisor.pid).children()

        supervisor.kill()
        _, alive = await anyio.to_thread.run_sync(lambda: psutil.wait_procs([child], timeout=STARTED_S))

        assert all(process.status() == psutil.STATUS_ZOMBIE for process in alive)
