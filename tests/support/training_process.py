"""A real training worker as a process, its children, and a job for it. Its data are in the given
folder."""

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
from shared_schemas.specs import TrainingSpec

from tests.support.armed import ROOT
from tests.support.armed import command as armed_command
from tests.support.training import TINY, write_table

MODULE = "training_worker"


@contextmanager
def training_process(
    redis_url: str,
    folder: Path,
    *,
    armed: tuple[str, str] | None = None,
    arms_child: bool = False,
    lease_s: float = 1.0,
    python_path: str | None = None,
    variables: Mapping[str, str] | None = None,
    **settings: object,
) -> Iterator[psutil.Popen]:
    """A worker process, killed at the end of the block. armed: an action and the failpoint where it
    happens. arms_child: the failpoint is armed in its children, not in the worker. variables: of its
    environment, besides the settings."""
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("HEADRACE_")},
        "HEADRACE_REDIS_URL": redis_url,
        "HEADRACE_DATA_ROOT": str(folder),
        "HEADRACE_ARTIFACTS_ROOT": str(folder / "artifacts"),
        "HEADRACE_DEVICE": "cpu",
        "HEADRACE_THREADS": "1",
        # Tests that run beside it have as good a claim to the cores.
        "HEADRACE_NICENESS": "0",
        "HEADRACE_LEASE_S": str(lease_s),
        **{f"HEADRACE_{name.upper()}": str(value) for name, value in settings.items()},
        **(variables or {}),
        **({} if python_path is None else {"PYTHONPATH": python_path}),
    }
    command = [sys.executable, "-m", MODULE]
    if armed is not None:
        command = armed_command(*armed, f"child:{MODULE}" if arms_child else MODULE)
    with (folder / "worker.log").open("ab") as log:
        process = psutil.Popen(command, cwd=ROOT, env=environment, stderr=log)
    try:
        yield process
    finally:
        with suppress(psutil.NoSuchProcess):
            process.kill()
        process.wait()


def child_of(worker: psutil.Popen) -> psutil.Process:
    """The training process of the running attempt."""
    [child] = worker.children()
    return child


def a_training(folder: Path, model_type: str = "mlp", **spec: object) -> TrainingSpec:
    """A job over a small table in the folder. It publishes the model `tiny`."""
    write_table(folder / "table.csv")
    wanted = {
        "data_path": "table.csv",
        "label_column": "kind",
        "hyperparameters": TINY,
        "output_model": "tiny",
        "seed": 3,
    }
    return TrainingSpec(model_type=model_type, **(wanted | spec))  # type: ignore[arg-type]


def alive(pids: list[int]) -> list[int]:
    """Those of the processes that still run. A zombie does not, even if its parent is gone."""
    return [pid for pid in pids if psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE]
