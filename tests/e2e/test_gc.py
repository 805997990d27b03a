"""Removal of unused artifacts by hand: `headrace gc`, and the module for containers."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from shared_schemas.artifacts import ArtifactRef
from shared_schemas.events import Checkpointed
from shared_schemas.specs import TrainingSpec
from shared_schemas.store.files import ArtifactStore

from tests.support.armed import ROOT
from tests.support.gateways import TRAINING, driver
from tests.support.workers import Bench

LOCAL = ("headrace.cli", "gc")
IN_CONTAINERS = ("training_worker.collecting",)


def gc(redis_url: str, data_dir: Path, *command: str) -> "subprocess.CompletedProcess[str]":
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HEADRACE_")} | {
        "HEADRACE_REDIS_URL": redis_url,
        "HEADRACE_ARTIFACTS_ROOT": str(data_dir / "artifacts"),
    }
    module = [sys.executable, "-m", *command]
    return subprocess.run(module, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=120)


async def a_store(redis_url: str, data_dir: Path) -> tuple[ArtifactStore, list[ArtifactRef]]:
    """-> its files, all of them old: two checkpoints, of which one is superseded by four newer
    ones, and a file that nothing refers to"""
    store = ArtifactStore(data_dir / "artifacts")
    saved = [store.put_bytes(b"checkpoint %d" % i) for i in range(4)]
    nobodys = store.put_bytes(b"nobody's")
    for ref in (*saved, nobodys):
        os.utime(store.path(ref), (0, 0))
    async with driver(redis_url) as drive:
        spec = TrainingSpec(model_type="mlp", data_path="a.csv", seed=1)
        claim = await drive.begin(await Bench(drive.client).submit(spec, queue=TRAINING))
        await drive.record(claim, *(Checkpointed(step=i, artifact=ref) for i, ref in enumerate(saved)))
    return store, [saved[0], nobodys]


@pytest.mark.parametrize("command", [LOCAL, IN_CONTAINERS])
async def test_a_dry_run_says_what_would_be_removed_and_a_real_run_removes_it(
    redis_url: str, tmp_path: Path, command: tuple[str, ...]
) -> None:
    store, old = await a_store(redis_url, tmp_path)

    plan = gc(redis_url, tmp_path, *command, "--dry-run")
    assert all(store.path(ref).is_file() for ref in old)
    listed = gc(redis_url, tmp_path, *command, "--dry-run", "--json")
    done = gc(redis_url, tmp_path, *command)

    assert (plan.returncode, plan.stderr) == (0, "")
    assert plan.stdout.splitlines() == [
        "1 checkpoints that are neither among the newest of their job nor its best: 12 bytes",
        "1 files that no job and no model refers to: 8 bytes",
        "2 files would be removed, 20 bytes",
        "3 files are in use; 0 more wait for the end of their grace period",
    ]
    assert {file["sha256"] for file in json.loads(listed.stdout)["collected"]} == {ref.sha256 for ref in old}
    assert (done.returncode, done.stdout.splitlines()[-2]) == (0, "2 files removed, 20 bytes")
    assert {path.name for path in (tmp_path / "artifacts" / "sha256").rglob("*") if path.is_file()}.isdisjoint(
        {ref.sha256 for ref in old}
    )


@pytest.mark.parametrize(("command", "code"), [(LOCAL, 5), (IN_CONTAINERS, 1)])
async def test_an_empty_redis_removes_nothing_and_says_so_in_one_line(
    redis_url: str, tmp_path: Path, command: tuple[str, ...], code: int
) -> None:
    store = ArtifactStore(tmp_path / "artifacts")
    ref = store.put_bytes(b"model")
    os.utime(store.path(ref), (0, 0))

    refused = gc(redis_url, tmp_path, *command)

    assert (refused.returncode, refused.stdout) == (code, "")
    assert "--adopt" in refused.stderr
    assert store.verify(ref)


@pytest.mark.parametrize(("command", "code"), [(LOCAL, 5), (IN_CONTAINERS, 1)])
def test_an_unreachable_redis_is_reported_in_one_line(tmp_path: Path, command: tuple[str, ...], code: int) -> None:
    ArtifactStore(tmp_path / "artifacts")

    refused = gc(f"unix://{tmp_path}/redis.sock", tmp_path, *command)

    assert (refused.returncode, refused.stdout, len(refused.stderr.splitlines())) == (code, "", 1)
