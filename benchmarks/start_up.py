"""The CPU time to start the command line, user and system: `headrace --help` and `headrace list`.

    uv run python -m benchmarks.start_up OTHER/.venv/bin/python [--repeats 10]

OTHER: a checkout of another commit with an environment of its own. The two take turns, so that
other load slows both, and the ratio is that of the medians. `with bytecode`: all modules were
compiled before. `as here`: with the bytecode that the environments have now. `list` asks an address
at which nobody listens.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

COMMANDS = {"--help": ["--help"], "list": ["list", "--url", "http://127.0.0.1:9"]}


def cpu_s(python: str, arguments: list[str], environment: Mapping[str, str]) -> float:
    """The CPU time of the child process alone, as the kernel counts it."""
    with open(os.devnull, "wb") as nothing:
        process = subprocess.Popen(
            [python, "-m", "headrace.cli", *arguments], env=environment, stdout=nothing, stderr=nothing
        )
        _, _, used = os.wait4(process.pid, 0)
        process.returncode = 0
    return used.ru_utime + used.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.start_up", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("other", metavar="PYTHON", help="the interpreter of the other checkout's environment")
    parser.add_argument("--repeats", type=int, default=10)
    given = parser.parse_args()
    began = time.monotonic()
    print(f"{'':<24}{'here s':>10}{'other s':>10}{'ratio':>8}")
    with tempfile.TemporaryDirectory() as folder:
        bare = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        environments = {
            "with bytecode": bare | {"PYTHONPYCACHEPREFIX": str(Path(folder))},
            "as here": bare | {"PYTHONDONTWRITEBYTECODE": "1"},
        }
        for kind, environment in environments.items():
            for name, arguments in COMMANDS.items():
                took: dict[str, list[float]] = {sys.executable: [], given.other: []}
                for python in took:
                    cpu_s(python, arguments, environment)
                for _ in range(given.repeats):
                    for python, times in took.items():
                        times.append(cpu_s(python, arguments, environment))
                here, other = (statistics.median(times) for times in took.values())
                print(f"{f'{name}, {kind}':<24}{here:>10.3f}{other:>10.3f}{here / other:>8.2f}")
    print(f"{given.repeats} runs each, median, {time.monotonic() - began:.0f} s in all")


if __name__ == "__main__":
    main()
