"""The compose file of deploy/, built and run under a name of its own. Knows commands of docker and podman, not jobs."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from headrace import Client, Settings
from headrace_local.system import free_port

from tests.support.gateways import ROOT

BUILD_S = 1200.0
# From its folder and from the root, it is the same.
FILES = ("deploy/compose.yaml", "compose.yaml")
# Not those of a stack that somebody runs here.
IMAGES = "headrace-test"
# What the images are built on, by the argument that names its version; and the version of before, which a machine that
# reaches no registry may have instead.
BASES = {
    "PYTHON": ("docker.io/library/python:{}-slim", "3.12"),
    "UV": ("ghcr.io/astral-sh/uv:{}", "latest"),
    "REDIS": ("docker.io/library/redis:{}", "8"),
}
PARTS = ("redis", "gateway", "training-worker", "inference-worker", "publishing-worker")


def engine() -> tuple[str, list[str]] | None:
    """-> the command for containers and the one for compose files; None where neither docker nor podman works."""
    for name, compose in (("docker", ["docker", "compose"]), ("podman", ["podman-compose"])):
        if shutil.which(name) and shutil.which(compose[0]) and _works([name, "info"]) and _works([*compose, "version"]):
            return name, compose
    return None


def _works(command: Sequence[str]) -> bool:
    return subprocess.run(command, capture_output=True, timeout=60, check=False).returncode == 0


class Stack:
    def __init__(self, name: str, folder: Path) -> None:
        found = engine()
        assert found is not None
        self.engine, self._compose = found
        self.name, self._folder = name, folder
        self.is_scaled = False
        self._gateway_port, self._redis_port = free_port(), free_port()
        self._environment = {
            **os.environ,
            "HEADRACE_LISTEN": f"127.0.0.1:{self._gateway_port}",
            "HEADRACE_IMAGES": IMAGES,
        }
        self.url = f"http://127.0.0.1:{self._gateway_port}"
        self._versions = {argument: self._version(argument) for argument in BASES}

    def base(self, argument: str) -> str:
        """The image that the images here are built on."""
        return BASES[argument][0].format(self._versions[argument])

    def _version(self, argument: str) -> str:
        """As the images are to be built; where that cannot be had, one that is here."""
        files = "".join(file.read_text() for file in sorted((ROOT / "deploy" / "docker").glob("*.Dockerfile")))
        pinned = re.findall(rf"^ARG {argument}=(\S+)$", files, re.MULTILINE)[0]
        name, of_before = BASES[argument]
        if self._is_here(name.format(pinned)) or not self._is_here(name.format(of_before)):
            return str(pinned)
        pull = subprocess.run([self.engine, "pull", name.format(pinned)], capture_output=True, timeout=600, check=False)
        return str(pinned) if pull.returncode == 0 else of_before

    def _is_here(self, image: str) -> bool:
        return _works([self.engine, "image", "inspect", image])

    def build(self) -> None:
        for file in FILES:
            self.compose("build", file=file, timeout_s=BUILD_S)

    def up(self, **scale: int) -> None:
        """scale: how many of a part, its name with _ for -."""
        wanted = {part.replace("_", "-"): n for part, n in scale.items()}
        self.is_scaled = any(n > 1 for n in wanted.values())
        counts = [f"--scale={part}={n}" for part, n in wanted.items()]
        # podman-compose takes one at a time.
        for chosen in [counts] if self.engine == "docker" else [[count] for count in counts] or [[]]:
            self.compose("up", "-d", *chosen)
        self._end_all_but(wanted)

    def _end_all_but(self, wanted: dict[str, int]) -> None:
        """podman-compose leaves alone what is too many."""
        for name in [name for part in PARTS for name in self.containers(part)[wanted.get(part, 1) :]]:
            self.run("stop", "-t", "40", name)
            self.run("rm", name)

    def down(self) -> None:
        self._end_all_but({})
        self.compose("down", "--volumes", "--timeout", "5")
        assert [name for part in PARTS for name in self._names_of(part, "ps", "--all")] == []

    @property
    def administrator(self) -> str:
        """-> a Redis URL, for whoever checks what is left."""
        [redis] = self.containers("redis")
        password = self.run("exec", redis, "cat", "/state/admin/password")
        return f"redis://admin:{password}@127.0.0.1:{self._redis_port}/0"

    @property
    def patient(self) -> Settings:
        """For a client that waits while parts start or are away."""
        return Settings(url=self.url, timeout_s=120.0, patience_s=300.0, retries=100)

    def until_ready(self) -> None:
        with Client(settings=self.patient) as client:
            client.queues()

    def containers(self, part: str) -> list[str]:
        """Names of those that run, the first one first."""
        return self._names_of(part, "ps")

    def _names_of(self, part: str, *command: str) -> list[str]:
        rows = self._json(*command, "--format", "json", "--filter", f"label=com.docker.compose.project={self.name}")
        return sorted(_name(row) for row in rows if _label(row, "com.docker.compose.service") == part)

    def run(self, *command: str, timeout_s: float = 120.0, check: bool = True) -> str:
        """A command of the engine's. -> what it printed"""
        done = subprocess.run(
            [self.engine, *command],
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
            env=self._environment,
        )
        assert done.returncode == 0 or not check, f"{' '.join(command)}: {done.stderr[-2000:]}"
        return done.stdout

    def compose(self, *command: str, file: str = FILES[0], timeout_s: float = 300.0) -> str:
        files = ["-f", file, "-f", str(self._override())]
        done = subprocess.run(
            [*self._compose, "-p", self.name, *files, *command],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
            env=self._environment,
        )
        assert done.returncode == 0, f"{' '.join(command)}: {done.stderr[-3000:]}"
        return done.stdout

    def _override(self) -> Path:
        """What only a test may have: a way in to Redis from outside, and other versions to build on."""
        file = self._folder / "override.json"
        services: dict[str, Any] = {part: {"build": {"args": self._versions}} for part in PARTS}
        services["redis"]["ports"] = [f"127.0.0.1:{self._redis_port}:6379"]
        file.write_text(json.dumps({"services": services}))
        return file

    def _json(self, *command: str) -> list[dict[str, Any]]:
        printed = self.run(*command).strip()
        # podman prints one list, docker one object a line.
        return (
            list(json.loads(printed))
            if printed.startswith("[")
            else [json.loads(line) for line in printed.splitlines()]
        )


def _name(row: dict[str, Any]) -> str:
    names = row["Names"]
    return str(names[0] if isinstance(names, list) else names)


def _label(row: dict[str, Any], name: str) -> str:
    labels = row["Labels"]
    if isinstance(labels, str):
        labels = dict(part.partition("=")[::2] for part in labels.split(","))
    return str(labels.get(name, ""))


@contextmanager
def running_stack(name: str, folder: Path) -> Iterator[Stack]:
    stack = Stack(name, folder)
    stack.build()
    try:
        stack.compose("up", "-d", file=FILES[1])
        stack.until_ready()
        # Later calls name the other file, at which podman-compose makes all containers anew. No test may meet that.
        stack.up()
        stack.until_ready()
        yield stack
    finally:
        stack.down()
