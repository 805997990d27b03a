"""The contestants, and how each is started. Knows commands and environments, not what is measured."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import psutil

from benchmarks.measuring import PeerFailed
from benchmarks.server import redis_version

PEERS = Path(__file__).with_name("peers")


class Contestant(msgspec.Struct, frozen=True):
    """name: as in the tables. program: the start of its command line. n_jobs: jobs of a drain, for
    about ten seconds. n_trips: jobs of a round trip. is_peer: whether it is the software of others.
    """

    name: str
    program: tuple[str, ...]
    n_jobs: int
    n_trips: int = 1_000
    is_peer: bool = True

    def call(self, command: str, url: str, n: int) -> Any:
        """-> what the program printed"""
        program = [*self.program, command, url, str(n)]
        done = subprocess.run(program, cwd=PEERS, env=_environment(), check=False, stdout=subprocess.PIPE)
        if done.returncode != 0:
            raise self.failed(f"{command} ended with {done.returncode}")
        return json.loads(done.stdout.splitlines()[-1])

    def failed(self, why: str) -> Exception:
        return PeerFailed(why) if self.is_peer else RuntimeError(f"{self.name}: {why}")

    @contextmanager
    def working(self, url: str, n: int, tally: Path) -> Iterator[psutil.Process]:
        """One worker process. Its log goes to a file, as it would in production."""
        with tempfile.TemporaryFile() as log:
            process = psutil.Popen(
                [*self.program, "work", url, str(n), str(tally)], cwd=PEERS, env=_environment(), stdout=log, stderr=log
            )
            try:
                yield process
            finally:
                for each in [*process.children(recursive=True), process]:
                    each.kill()
                process.wait()


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("HEADRACE_")}


def _python(name: str) -> tuple[str, ...]:
    return (sys.executable, f"{name}_peer.py")


HEADRACE = Contestant("Headrace", _python("headrace"), 40_000, is_peer=False)
RAW = Contestant("raw loop", _python("raw"), 60_000, is_peer=False)


def peers() -> Sequence[Contestant]:
    """The peers that can run here. SAQ has an environment of its own. BullMQ needs node, and npm
    the first time."""
    found = [
        Contestant("taskiq streams", _python("taskiq"), 8_000),
        Contestant("SAQ", ("uv", "run", "--no-project", "--script", "saq_peer.py"), 8_000),
        Contestant("Celery", _python("celery"), 3_000, n_trips=400),
    ]
    # streaQ uses functions, which Redis has from 7.0 on.
    if int(redis_version().partition(".")[0]) >= 7:
        # Its client polls for a result ten times a second.
        found.append(Contestant("streaQ", _python("streaq"), 5_000, n_trips=60))
    if shutil.which("node") and (_installed_bullmq() is not None):
        found.append(Contestant("BullMQ", ("node", "bullmq/peer.mjs"), 40_000))
    return found


def _installed_bullmq() -> Path | None:
    folder = PEERS / "bullmq"
    modules = folder / "node_modules"
    npm = shutil.which("npm")
    if npm and not modules.exists():
        subprocess.run([npm, "ci", "--silent", "--no-fund", "--no-audit"], cwd=folder, check=False)
    return modules if modules.exists() else None
