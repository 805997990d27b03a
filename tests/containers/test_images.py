"""What is in each image: its member's own dependencies, as the lock file has them, and nothing else."""

import json
import re
import subprocess

import pytest
from packaging.requirements import Requirement
from shared_schemas.stream.connection import connect
from shared_schemas.stream.redis_settings import RedisSettings

from tests.containers.stack import IMAGES, Stack
from tests.support.gateways import ROOT

pytestmark = [pytest.mark.containers, pytest.mark.timeout(1800)]

PARTS = ("gateway", "training-worker", "inference-worker")
ABSENT = {
    "gateway": {"torch", "onnxruntime", "onnxruntime-gpu", "numpy"},
    "training-worker": {"onnxruntime", "onnxruntime-gpu", "fastapi"},
    "inference-worker": {"torch", "fastapi"},
}
LIST = (
    "import importlib.metadata as m, json;"
    " print(json.dumps(sorted({d.name.lower().replace('_', '-') for d in m.distributions()})))"
)


@pytest.mark.parametrize("part", PARTS)
def test_an_image_holds_what_its_member_depends_on_and_nothing_else(stack: Stack, part: str) -> None:
    command = ["uv", "export", "--frozen", "--no-dev", "--package", f"headrace-{part}", "--no-hashes", "--no-annotate"]
    wanted = subprocess.run([*command, "--no-header"], cwd=ROOT, capture_output=True, text=True, check=True).stdout

    # The base image's own pip is not in its path of packages.
    printed = stack.run("run", "--rm", "--entrypoint", "/app/bin/python", f"{IMAGES}-{part}", "-I", "-c", LIST)

    installed = set(json.loads(printed)) - {"pip"}
    assert installed & ABSENT[part] == set()
    assert installed == _names(wanted)


@pytest.mark.parametrize("part", PARTS)
def test_an_image_is_as_large_as_the_readme_says(stack: Stack, part: str) -> None:
    """Of its own layers, without those of the image it is built on."""
    said = re.search(rf"^\| `headrace-{part}` \|.*\| ([\d,]+) MB \|$", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert said

    size_mb = (_size(stack, f"{IMAGES}-{part}") - _size(stack, stack.base("PYTHON"))) / 1e6

    assert size_mb == pytest.approx(int(said[1].replace(",", "")), rel=0.1)
    assert part != "gateway" or size_mb < 150


@pytest.mark.parametrize("part", ["redis", *PARTS])
def test_a_part_runs_without_rights(stack: Stack, part: str) -> None:
    [name] = stack.containers(part)

    assert stack.run("exec", name, "id", "-u").strip() == "10001"
    assert "Read-only file system" in _failure(stack, name, "touch", "/app/x" if part != "redis" else "/etc/x")
    status = stack.run("exec", name, "cat", "/proc/1/status")
    assert "CapBnd:\t0000000000000000" in status
    assert "NoNewPrivs:\t1" in status


@pytest.mark.parametrize("part", ["redis", *PARTS])
def test_a_part_says_that_it_is_well(stack: Stack, part: str) -> None:
    [name] = stack.containers(part)
    command = ["podman", "healthcheck", "run", name]
    if stack.engine == "docker":
        command = [
            "sh",
            "-c",
            f"until [ $(docker inspect -f '{{{{.State.Health.Status}}}}' {name}) = healthy ]; do sleep 0.2; done",
        ]

    assert subprocess.run(command, timeout=120, check=False).returncode == 0


async def test_redis_is_full_before_its_container_is(stack: Stack) -> None:
    client = connect(RedisSettings(redis_url=stack.administrator))
    try:
        facts = await client.info("memory")
    finally:
        await client.aclose()

    assert facts["maxmemory"] == pytest.approx(0.6 * 2**31, rel=0.001)
    assert facts["maxmemory_policy"] == "noeviction"


def _size(stack: Stack, image: str) -> int:
    """-> bytes"""
    return int(stack.run("image", "inspect", "--format", "{{.Size}}", image))


def _failure(stack: Stack, name: str, *command: str) -> str:
    done = subprocess.run([stack.engine, "exec", name, *command], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    return done.stderr


def _names(requirements: str) -> set[str]:
    """Of those lines whose marker holds in the image: Linux, and no Windows."""
    names = set()
    for line in requirements.splitlines():
        text = line.strip()
        if text.startswith(("-e ", "./")):
            names.add("headrace-" + text.removeprefix("-e ").removeprefix("./"))
        elif text and not text.startswith("#"):
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate(
                {"python_version": "3.12", "python_full_version": "3.12.0"}
            ):
                names.add(requirement.name.lower().replace("_", "-"))
    return names
