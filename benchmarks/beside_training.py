"""Latencies of inference alone and beside two trainings on the same machine, by the niceness of training processes.

    uv run --group bench python -m benchmarks.beside_training [--niceness N …] [--repeats N] [--seconds S]

Each `headrace up` has one inference worker and two training workers, and serves the model of benchmarks.serving with
one thread. It is asked by so many connections, each the next request after the answer to the last: first alone, then
while two trainings run. *p99 ratio* is that of the two. *steps/s* is what both trainings do meanwhile.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import msgspec
import numpy as np
from headrace import Client
from rich.console import Console
from rich.table import Table

from benchmarks.measuring import percentile
from benchmarks.serving.contestants import Headrace
from benchmarks.serving.models import LARGE
from benchmarks.serving.running import Served
from benchmarks.serving.ways import Way

WAYS = (Way("wait", 1), Way("wait", 8))
ROWS, FEATURES, WITHIN_S = 4096, 16, 400.0
TRAINING = {"epochs": 100_000, "batch_size": 64, "width": 512, "layers": 3, "checkpoint_every_s": 3600.0}


class Found(msgspec.Struct, frozen=True):
    """p50_ms, p99_ms: alone, and beside the trainings. steps_per_s: of both trainings together."""

    p50_ms: tuple[float, float]
    p99_ms: tuple[float, float]
    steps_per_s: float


class Trainings:
    """Two of them, which run for as long as their workers do."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._ids = [
            client.submit_training(
                model_type="mlp", data_path="table.csv", label_column="label", hyperparameters=TRAINING, seed=seed
            ).job_id
            for seed in range(2)
        ]
        end = time.monotonic() + WITHIN_S
        while min(self._steps()) < 2:
            if time.monotonic() > end:
                raise RuntimeError("the trainings made no steps")
            time.sleep(0.2)

    def total(self) -> int:
        return sum(self._steps())

    def _steps(self) -> list[int]:
        found = [self._client.status(job_id).progress for job_id in self._ids]
        return [0 if progress is None else progress.step or 0 for progress in found]


def measure(served: Served, seconds: float) -> dict[Way, Found]:
    alone = {way: _latencies(served, way, seconds) for way in WAYS}
    found = dict[Way, Found]()
    with Client(f"http://127.0.0.1:{served.port}") as client:
        trainings = Trainings(client)
        for way in WAYS:
            steps, began = trainings.total(), time.monotonic()
            p50, p99 = _latencies(served, way, seconds)
            steps_per_s = (trainings.total() - steps) / (time.monotonic() - began)
            found[way] = Found((alone[way][0], p50), (alone[way][1], p99), steps_per_s)
    return found


def _latencies(served: Served, way: Way, seconds: float) -> tuple[float, float]:
    """-> p50 and p99, in milliseconds"""
    served.ask(way, seconds / 4)
    each_s = served.ask(way, seconds).each_s
    return percentile(each_s, 0.5) * 1000, percentile(each_s, 0.99) * 1000


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.beside_training", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--niceness", type=int, nargs="+", default=[0, 19])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=6.0)
    given = parser.parse_args()
    measured: dict[tuple[int, Way], list[Found]] = {}
    with tempfile.TemporaryDirectory(prefix="hr-bench-") as name:
        folder = Path(name)
        model = LARGE.write(folder)
        _write_table(folder / "table.csv")
        for number in range(given.repeats):
            for niceness in given.niceness:
                print(f"niceness {niceness}, {number + 1} of {given.repeats} …", file=sys.stderr)
                settings = {"HEADRACE_NICENESS": str(niceness), "HEADRACE_DATA_ROOT": str(folder)}
                build = Headrace("Headrace", training_workers=2, settings=settings)
                with build.running(model, 1) as served:
                    for way, found in measure(served, given.seconds).items():
                        measured.setdefault((niceness, way), []).append(found)
    Console(width=140).print(_table(measured))


def _write_table(path: Path) -> None:
    rows = np.random.default_rng(0).standard_normal((ROWS, FEATURES)).round(3)
    header = ",".join([*(f"f{i}" for i in range(FEATURES)), "label"])
    lines = [",".join([*map(str, row), "a" if sum(row) > 0 else "b"]) for row in rows.tolist()]
    path.write_text("\n".join([header, *lines]) + "\n")


def _table(measured: Mapping[tuple[int, Way], list[Found]]) -> Table:
    shown = Table(title="Inference alone and beside two trainings", title_justify="left")
    for column in ("niceness", "asked", "p50 ms", "beside", "p99 ms", "beside", "p99 ratio", "steps/s"):
        shown.add_column(column, justify="right")
    for (niceness, way), found in sorted(measured.items(), key=lambda each: (each[0][1].connections, each[0][0])):
        figures = [
            *(statistics.median(each.p50_ms[beside] for each in found) for beside in (0, 1)),
            *(statistics.median(each.p99_ms[beside] for each in found) for beside in (0, 1)),
            statistics.median(each.p99_ms[1] / each.p99_ms[0] for each in found),
            statistics.median(each.steps_per_s for each in found),
        ]
        asked = f"{way.connections} at a time"
        shown.add_row(str(niceness), asked, *(f"{figure:.2f}" for figure in figures))
    return shown


if __name__ == "__main__":
    main()
