"""Compares this build with another checkout in one run: drain, round trip and POST, in turns.

    uv run --group bench python -m benchmarks.side_by_side FOLDER [--repeats N] [--scale X]

FOLDER: another checkout whose .venv is synced with --group bench. A ratio above 1 means that this
build is faster, or uses less. Except for the drain, the services of both builds stay up and are
measured in short turns, because two starts of one build differ by more than the two builds do, and
a shared machine changes from second to second.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import anyio
import msgspec
import psutil
from rich.console import Console
from rich.table import Table as Shown

from benchmarks.gateway import ACCEPTED, CONNECTIONS, UVLOOP, request_for
from benchmarks.http_load import post
from benchmarks.measuring import Column, Figures, Found, Table, alternate, percentile, table
from benchmarks.round_trip import WARM_UP, followed

ROOT = Path(__file__).parents[1]
T = TypeVar("T")
THIS, OTHER = "this build", "the other"
# How many turns each service gets in a repeat, and how many requests are sent in a turn.
TURNS, TRIPS = 10, 200
N_POSTS = {1: 600, 64: 3_000}
# These programs run in either checkout, so they call only what both builds have.
DRAIN_PROGRAM = """
import json, sys
from benchmarks import drain
scale = float(sys.argv[1])
print(json.dumps({f"drain_{name}": value for name, value in drain._measure(drain.HEADRACE, scale).items()}))
"""
QUEUE_SERVER = """
import json, sys
from contextlib import ExitStack
from benchmarks.contestants import HEADRACE
from benchmarks.server import bench_redis
with ExitStack() as stack:
    bench = stack.enter_context(bench_redis())
    stack.enter_context(HEADRACE.working(bench.url, 10**9, bench.folder / "tally"))
    print(json.dumps(bench.url), flush=True)
    sys.stdin.read()
"""
TRIP_PROGRAM = """
import json, sys
from benchmarks.contestants import HEADRACE
print(json.dumps(HEADRACE.call("round_trips", sys.argv[1], int(sys.argv[2]))["ms"]))
"""
GATEWAY_SERVER = """
import json, sys
from contextlib import ExitStack
import anyio
from benchmarks.contestants import HEADRACE
from benchmarks.http_servers import GATEWAY, publish_model
from benchmarks.server import bench_redis
with ExitStack() as stack:
    bench = stack.enter_context(bench_redis())
    if sys.argv[1] == "followed":
        stack.enter_context(HEADRACE.working(bench.url, 10**9, bench.folder / "tally"))
    served = stack.enter_context(GATEWAY.serving(bench))
    print(json.dumps([served.port, served.process.pid, anyio.run(publish_model, bench.url)]), flush=True)
    sys.stdin.read()
"""


class Queue(msgspec.Struct, frozen=True):
    """A Redis and a worker of one build that stay up."""

    checkout: Path
    url: str


class Gateway(msgspec.Struct, frozen=True):
    """A gateway of one build that stays up."""

    port: int
    process: psutil.Process
    model: str

    def cpu_s(self) -> float:
        times = self.process.cpu_times()
        return float(times.user + times.system)


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
TRIP = [
    Column("p50 ms", "trip_p50_ms", ".3f", "spread"),
    Column("ratio", "trip_p50_ms", kind="inverse"),
]
FOLLOWED = [
    Column("p50 ms", "http_p50_ms", ".3f", "spread"),
    Column("ratio", "http_p50_ms", kind="inverse"),
]
POSTS = [
    column
    for connections in CONNECTIONS
    for column in (
        Column(f"{connections}: requests/s", f"post_per_s_{connections}", kind="spread"),
        Column("ratio", f"post_per_s_{connections}", kind="ratio"),
        Column("server µs", f"post_cpu_us_{connections}", ".1f"),
        Column("ratio", f"post_cpu_us_{connections}", kind="inverse"),
    )
]


@contextmanager
def serving(checkout: Path, *program: str) -> Iterator[Any]:
    """Yields what the program printed, which is one line of JSON. The program ends when its stdin
    is closed."""
    command = [str(checkout / ".venv/bin/python"), "-c", *program]
    with subprocess.Popen(command, cwd=checkout, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        printed = json.loads(server.stdout.readline())
        try:
            yield printed
        finally:
            server.stdin.close()


@contextmanager
def queue(checkout: Path) -> Iterator[Queue]:
    with serving(checkout, QUEUE_SERVER) as url:
        yield Queue(checkout, url)


@contextmanager
def gateway(checkout: Path, kind: str) -> Iterator[Gateway]:
    """kind: followed, which has a worker, or posted, which has none."""
    with serving(checkout, GATEWAY_SERVER, kind) as (port, pid, model):
        yield Gateway(port, psutil.Process(pid), model)


def run(checkout: Path, *program: str) -> Any:
    command = [str(checkout / ".venv/bin/python"), "-c", *program]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, cwd=checkout)
    return json.loads(done.stdout.splitlines()[-1])


def drains(checkout: Path, scale: float) -> Figures:
    figures: dict[str, float] = run(checkout, DRAIN_PROGRAM, str(scale))
    return figures


def direct_trips(asked: Queue) -> Figures:
    took = run(asked.checkout, TRIP_PROGRAM, asked.url, str(TRIPS + WARM_UP))
    return {"trip_p50_ms": percentile(took[WARM_UP:], 0.5)}


def posts(asked: Gateway) -> Figures:
    request, figures = request_for(asked.model), dict[str, float]()
    for connections in CONNECTIONS:
        n, cpu = N_POSTS[connections], asked.cpu_s()

        async def load(n: int = n, connections: int = connections) -> float:
            return (await post(asked.port, request, n=n, connections=connections, expected=ACCEPTED))[0]

        figures[f"post_per_s_{connections}"] = n / anyio.run(load, backend_options=UVLOOP)
        figures[f"post_cpu_us_{connections}"] = (asked.cpu_s() - cpu) * 1e6 / n
    return figures


def trips(asked: Gateway) -> Figures:
    took = anyio.run(followed, asked.port, asked.model, TRIPS, backend_options=UVLOOP)
    return {"http_p50_ms": percentile(took, 0.5)}


def turns(
    checkouts: dict[str, Path],
    services: Callable[[Path], AbstractContextManager[T]],
    measure: Callable[[T], Figures],
    repeats: int,
) -> Found:
    """Measure services that stay up, in turns. The first turn of each is not counted."""
    with ExitStack() as stack:
        asked = {name: stack.enter_context(services(checkout)) for name, checkout in checkouts.items()}
        rows = alternate(asked, measure, repeats=TURNS * repeats + 1)
    return {name: of_build[1:] for name, of_build in rows.items()}


def tables(checkouts: dict[str, Path], repeats: int, scale: float) -> Iterator[Table]:
    def of(title: str, rows: Found, columns: list[Column]) -> Table:
        return table(title, rows, columns, base=OTHER)

    yield of("Drain of no-op jobs", alternate(checkouts, lambda each: drains(each, scale), repeats=repeats), DRAIN)
    yield of("Round trip of one job, idle", turns(checkouts, queue, direct_trips, repeats), TRIP)
    over_http = turns(checkouts, lambda each: gateway(each, "followed"), trips, repeats)
    yield of("Round trip over HTTP and SSE", over_http, FOLLOWED)
    posted = turns(checkouts, lambda each: gateway(each, "posted"), posts, repeats)
    yield of("POST /jobs/inference", posted, POSTS)


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.side_by_side", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("other", metavar="FOLDER", type=Path)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--scale", type=float, default=1.0)
    given = parser.parse_args()
    if not (given.other / ".venv/bin/python").exists():
        sys.exit(f"{given.other} has no .venv: run `uv sync --group bench` there first")
    checkouts = {THIS: ROOT, OTHER: given.other}
    for made in tables(checkouts, given.repeats, given.scale):
        shown = Shown(*made.columns, title=made.title, title_justify="left")
        for row in made.rows:
            shown.add_row(*row)
        Console(width=140).print(shown)


if __name__ == "__main__":
    main()
