"""Runs all benchmarks, or those that are named.

    uv run --group bench python -m benchmarks [NAME …] [--short] [--repeats N] [--redis-server PATH] [--keep]

NAME: drain, round_trip, gateway, fan_out, serving, idle, growth, recovery. --short: a fraction of
the jobs, once, to check that everything works; its figures mean nothing. --keep: write
benchmarks/results and docs/performance.md.
"""

import argparse

from rich.console import Console
from rich.table import Table

from benchmarks.measuring import N_REPEATS, machine
from benchmarks.page import MODULES, keep
from benchmarks.server import redis_version
from tests.support.redis_server import choose


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="*", choices=[*MODULES, []], metavar="NAME", default=[])
    parser.add_argument("--repeats", type=int, default=N_REPEATS)
    parser.add_argument("--redis-server", metavar="PATH")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--short", action="store_true")
    what.add_argument("--keep", action="store_true")
    given = parser.parse_args()
    if given.redis_server:
        choose(given.redis_server)
    repeats, scale = (1, 0.02) if given.short else (given.repeats, 1.0)
    for name in given.names or MODULES:
        module = MODULES[name]
        found = module.run(repeats=repeats, scale=scale)
        for made in module.tables(found):
            shown = Table(*made.columns, title=made.title, title_justify="left")
            for row in made.rows:
                shown.add_row(*row)
            Console(width=160).print(shown)
        if given.keep:
            keep(name, found, machine(redis_version()))


if __name__ == "__main__":
    main()
