"""Recording: the CPU time that an event of a training takes in the worker that passes it on, and in
Redis.

    uv run --group bench python -m benchmarks.recording [--steps N] [--repeats N] [--other PYTHON]

--other: the interpreter in the environment of another checkout. The two take turns.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table as Shown

from benchmarks.measuring import Column, Figures, Found, Table, alternate, table
from benchmarks.server import bench_redis

PEER = Path(__file__).parent / "peers" / "training_peer.py"
STEPS, REPEATS = 4_000, 5
THIS, OTHER = "this build", "the other"

COLUMNS = [
    Column("events", "events"),
    Column("worker, µs an event", "worker_us", ",.1f", "spread"),
    Column("Redis, µs an event", "redis_us", ",.1f"),
    Column("worker, of the other", "worker_us", kind="ratio"),
    Column("both, of the other", "both_us", kind="ratio"),
]


def run(python: str, steps: int) -> Figures:
    with tempfile.TemporaryDirectory(prefix="hr-bench-") as folder, bench_redis() as bench:
        before_s = bench.used_cpu_s()
        done = subprocess.run(
            [python, str(PEER), bench.url, str(steps), folder], check=True, stdout=subprocess.PIPE, cwd=folder
        )
        printed = json.loads(done.stdout.splitlines()[-1])
        worker_us = printed["worker_cpu_s"] / printed["events"] * 1e6
        redis_us = (bench.used_cpu_s() - before_s) / printed["events"] * 1e6
        return {
            "events": printed["events"],
            "worker_us": worker_us,
            "redis_us": redis_us,
            "both_us": worker_us + redis_us,
        }


def tables(found: Found) -> list[Table]:
    return [table("Recording the events of a training", found, COLUMNS, base=OTHER if OTHER in found else THIS)]


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.recording", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--repeats", type=int, default=REPEATS)
    parser.add_argument("--other", metavar="PYTHON")
    given = parser.parse_args()
    cases = {THIS: sys.executable} | ({} if given.other is None else {OTHER: given.other})
    found = alternate(cases, lambda python: run(python, given.steps), repeats=given.repeats)
    for made in tables(found):
        shown = Shown(*made.columns, title=made.title, title_justify="left")
        for row in made.rows:
            shown.add_row(*row)
        Console(width=120).print(shown)


if __name__ == "__main__":
    main()
