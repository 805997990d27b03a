"""Runs benchmarks: all, or those that are named.

    uv run --group bench python -m benchmarks [NAME …] [--short] [--repeats N] [--redis-server PATH] [--json FILE]

NAME: drain, round_trip, gateway, fan_out, idle. --short: a fraction of the jobs, once, to see that all of it is right.
"""

import argparse
import json
import sys
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import drain, fan_out, gateway, idle, round_trip
from benchmarks.measuring import N_REPEATS, machine
from benchmarks.server import redis_version
from tests.support.redis_server import choose

BENCHMARKS = {
    "drain": drain.run,
    "round_trip": round_trip.run,
    "gateway": gateway.run,
    "fan_out": fan_out.run,
    "idle": idle.run,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="*", choices=[*BENCHMARKS, []], metavar="NAME", default=[])
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--repeats", type=int, default=N_REPEATS)
    parser.add_argument("--redis-server", metavar="PATH")
    parser.add_argument("--json", type=Path, metavar="FILE")
    given = parser.parse_args()
    if given.redis_server:
        choose(given.redis_server)
    repeats, scale = (1, 0.02) if given.short else (given.repeats, 1.0)
    figures = {name: BENCHMARKS[name](repeats=repeats, scale=scale) for name in given.names or BENCHMARKS}
    if given.json:
        stamp = datetime.now(UTC).isoformat(timespec="seconds")
        given.json.write_text(
            json.dumps({"at": stamp, "machine": machine(redis_version()), "figures": figures}, indent=1) + "\n"
        )


if __name__ == "__main__":
    sys.exit(main())
