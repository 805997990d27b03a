"""Side by side: drain, round trip and POST of this build and of another checkout, each in turn in one run.

    uv run --group bench python -m benchmarks.side_by_side FOLDER [--repeats N] [--scale X]

FOLDER: another checkout whose .venv is synced with --group bench. A ratio above 1 says that this build does more, or
takes less.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table as Shown

from benchmarks.measuring import Column, Figures, Found, Table, alternate, table

ROOT = Path(__file__).parents[1]
THIS, OTHER = "this build", "the other"
# Runs inside either checkout: `_measure` of each benchmark is what both have.
PROGRAM = """
import json, sys
from benchmarks import drain, gateway, round_trip
scale = float(sys.argv[1])
figures = {f"drain_{name}": value for name, value in drain._measure(drain.HEADRACE, scale).items()}
figures |= {f"trip_{name}": value for name, value in round_trip._measure(round_trip.HEADRACE, scale).items()}
figures |= {f"http_{name}": value for name, value in round_trip._measure(round_trip.OVER_HTTP, scale).items()}
figures |= {f"post_{name}": value for name, value in gateway._measure(gateway.GATEWAY, scale).items()}
print(json.dumps(figures))
"""
DRAIN = [
    Column("drained/s", "drain_drain_per_s", kind="spread"),
    Column("ratio", "drain_drain_per_s", kind="ratio"),
    Column("enqueued/s", "drain_enqueue_per_s", kind="spread"),
    Column("ratio", "drain_enqueue_per_s", kind="ratio"),
    Column("worker µs", "drain_worker_us", ".1f"),
    Column("ratio", "drain_worker_us", kind="inverse"),
    Column("Redis µs", "drain_redis_us", ".1f"),
    Column("ratio", "drain_redis_us", kind="inverse"),
]
TRIPS = [
    Column("p50 ms", "trip_p50_ms", ".3f", "spread"),
    Column("ratio", "trip_p50_ms", kind="inverse"),
    Column("HTTP + SSE, p50 ms", "http_p50_ms", ".3f", "spread"),
    Column("ratio", "http_p50_ms", kind="inverse"),
]
POSTS = [
    Column("1: requests/s", "post_per_s_1", kind="spread"),
    Column("ratio", "post_per_s_1", kind="ratio"),
    Column("64: requests/s", "post_per_s_64", kind="spread"),
    Column("ratio", "post_per_s_64", kind="ratio"),
    Column("server µs", "post_cpu_us", ".1f"),
    Column("ratio", "post_cpu_us", kind="inverse"),
]


def run(checkout: Path, scale: float) -> Figures:
    python = checkout / ".venv/bin/python"
    done = subprocess.run([str(python), "-c", PROGRAM, str(scale)], check=True, stdout=subprocess.PIPE, cwd=checkout)
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


def tables(found: Found) -> list[Table]:
    shown = (("Drain of no-op jobs", DRAIN), ("Round trip of one job, idle", TRIPS), ("POST /jobs/inference", POSTS))
    return [table(title, found, columns, base=OTHER) for title, columns in shown]


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.side_by_side", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("other", metavar="FOLDER", type=Path)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--scale", type=float, default=1.0)
    given = parser.parse_args()
    if not (given.other / ".venv/bin/python").exists():
        sys.exit(f"{given.other} has no .venv: run `uv sync --group bench` there first")
    found = alternate({THIS: ROOT, OTHER: given.other}, lambda each: run(each, given.scale), repeats=given.repeats)
    for made in tables(found):
        shown = Shown(*made.columns, title=made.title, title_justify="left")
        for row in made.rows:
            shown.add_row(*row)
        Console(width=140).print(shown)


if __name__ == "__main__":
    main()
