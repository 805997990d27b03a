"""Serving by this build beside another checkout: answers, latencies, and the CPU time of each part.

    uv run --group bench python -m benchmarks.serving FOLDER [--repeats N] [--seconds S] [--threads N] [--tiny]

FOLDER: another checkout with a .venv, or this one, which shows what differs by chance. Both builds
stay up and are asked in turns, each for so many seconds in each way. The ratios are those of this
build to the other in the same turn.
"""

import argparse
import sys
import tempfile
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.table import Table as Shown

from benchmarks.measuring import N_REPEATS, Column, alternate, table
from benchmarks.serving.contestants import HEADRACE, Headrace
from benchmarks.serving.models import LARGE, TINY
from benchmarks.serving.running import Running
from benchmarks.serving.ways import ALL

THIS, OTHER = "this build", "the other"
COLUMNS = [
    Column("answers/s", "per_s", kind="spread"),
    Column("ratio", "per_s", kind="ratio"),
    Column("p50 ms", "p50_ms", ".2f"),
    Column("p99 ms", "p99_ms", ".2f"),
    Column("first ms", "first_ms", ".1f"),
    Column("CPU ms", "cpu_ms", ".3f"),
    Column("ratio", "cpu_ms", kind="ratio"),
    Column("gateway", "cpu_gateway_ms", ".3f"),
    Column("worker", "cpu_inference_worker_ms", ".3f"),
    Column("up", "cpu_headrace.cli_ms", ".3f"),
    Column("Redis", "cpu_redis_ms", ".3f"),
    Column("Redis commands", "redis_calls", ".1f"),
    Column("rows a run", "rows_a_run", ".1f"),
]


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.serving", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("other", metavar="FOLDER", type=Path)
    parser.add_argument("--repeats", type=int, default=N_REPEATS)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--threads", type=int, default=1, help="of one run of the model")
    parser.add_argument("--tiny", action="store_true", help="serve the model of 1,000 parameters")
    given = parser.parse_args()
    if not (given.other / ".venv/bin/python").exists():
        sys.exit(f"{given.other} has no .venv: run `uv sync` there first")
    builds = {THIS: HEADRACE, OTHER: Headrace(OTHER, checkout=given.other.resolve())}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hr-bench-")))
        model = (TINY if given.tiny else LARGE).write(folder)
        asked: dict[str, Running] = {
            name: stack.enter_context(build.running(model, given.threads)) for name, build in builds.items()
        }
        for way in ALL:
            measure = partial(Running.measure, way=way, seconds=given.seconds)
            made = table(way.title, alternate(asked, measure, repeats=given.repeats), COLUMNS, base=OTHER)
            shown = Shown(*made.columns, title=made.title, title_justify="left")
            for row in made.rows:
                shown.add_row(*row)
            Console(width=160).print(shown)


if __name__ == "__main__":
    main()
