"""Which artifacts jobs and models keep, on a real Redis, and that another Redis frees none of them."""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from shared_schemas.artifacts import ArtifactRef
from shared_schemas.codec import encode_json
from shared_schemas.events import Checkpointed, Measured, Produced
from shared_schemas.ids import JobId
from shared_schemas.models import ModelRef
from shared_schemas.outcome import Success
from shared_schemas.specs import TrainingSpec
from shared_schemas.store.collecting import Collection
from shared_schemas.store.files import ArtifactMissing, ArtifactStore
from shared_schemas.stream.removal import Removal
from training_worker.collecting import StoreOfAnotherRedis, collect

from tests.support.gateways import TRAINING, Driver, a_manifest, driver
from tests.support.workers import Bench

LONG = [Measured(split="train", step=n, values={"loss": 0.5}) for n in range(20)]


@pytest.fixture
async def drive(redis_url: str) -> AsyncIterator[Driver]:
    async with driver(redis_url) as made:
        yield made


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(tmp_path)


def old(store: ArtifactStore, data: str) -> ArtifactRef:
    ref = store.put_bytes(data.encode())
    os.utime(store.path(ref), (0, 0))
    return ref


def left(store: ArtifactStore, *refs: ArtifactRef) -> list[bool]:
    found = []
    for ref in refs:
        try:
            found.append(store.path(ref).is_file())
        except ArtifactMissing:
            found.append(False)
    return found


async def freed(drive: Driver, root: Path, *, dry_run: bool = False, adopt: bool = False) -> Collection:
    return await collect(drive.client, root, checkpoints_kept=2, grace_s=60.0, dry_run=dry_run, adopt=adopt)


async def a_job(drive: Driver) -> JobId:
    return await Bench(drive.client).submit(TrainingSpec(model_type="mlp", data_path="a.csv", seed=1), queue=TRAINING)


@pytest.mark.parametrize("is_long", [False, True])
@pytest.mark.parametrize("state", ["running", "paused", "succeeded"])
async def test_the_newest_checkpoints_of_a_job_and_its_best_one_are_kept(
    drive: Driver, store: ArtifactStore, tmp_path: Path, state: str, is_long: bool
) -> None:
    saved = [old(store, f"checkpoint {i}") for i in range(5)]
    job_id = await a_job(drive)
    claim = await drive.begin(job_id)
    made = [Checkpointed(step=i, artifact=ref, best=i in (0, 1)) for i, ref in enumerate(saved)]
    events = [*made, *(LONG if is_long else [])]
    await drive.record(claim, *events)
    if state == "paused":
        await drive.control.pause(job_id)
    if state == "succeeded":
        await drive.settle(claim, Success(msgspec.Raw(b"{}")), first=len(events))

    done = await freed(drive, tmp_path)

    assert left(store, *saved) == [False, True, False, True, True]
    assert {(file.sha256, file.why) for file in done.collected} == {
        (saved[0].sha256, "superseded"),
        (saved[2].sha256, "superseded"),
    }


async def test_what_a_job_made_and_what_its_result_names_is_kept(
    drive: Driver, store: ArtifactStore, tmp_path: Path
) -> None:
    series, named, nobodys = old(store, "series"), old(store, "named"), old(store, "nobody's")
    claim = await drive.begin(await a_job(drive))
    await drive.record(claim, Produced(name="metrics.ndjson", artifact=series))
    result = msgspec.Raw(encode_json({"onnx_sha256": named.sha256}))
    await drive.settle(claim, Success(result), first=1)

    await freed(drive, tmp_path)

    assert left(store, series, named, nobodys) == [True, True, False]


async def test_a_model_keeps_its_files_until_its_version_and_its_job_are_gone(
    drive: Driver, store: ArtifactStore, tmp_path: Path
) -> None:
    model, staged = old(store, "model"), old(store, "staged")
    jobs = []
    for onnx in (model, staged):
        jobs.append(await a_job(drive))
        claim = await drive.begin(jobs[-1])
        manifest = msgspec.structs.replace(a_manifest(), onnx=onnx)
        await drive.registry.stage(name="wine", job_id=jobs[-1], fence=claim.fence, manifest=manifest)
        if onnx is model:
            await drive.settle(claim, Success(msgspec.Raw(b"{}")))
            await drive.registry.resolve("wine")

    await freed(drive, tmp_path)
    assert left(store, model, staged) == [True, True]
    await Removal(drive.nodes).delete_job(jobs[0], queues=[TRAINING])
    await freed(drive, tmp_path)
    assert left(store, model, staged) == [True, True]
    await Removal(drive.nodes).delete_version(ModelRef("wine", 1), queues=[TRAINING])
    await freed(drive, tmp_path)

    assert left(store, model, staged) == [False, True]


async def test_two_jobs_that_share_a_file_keep_it_until_both_are_gone(
    drive: Driver, store: ArtifactStore, tmp_path: Path
) -> None:
    shared, jobs = old(store, "shared"), [await a_job(drive) for _ in range(2)]
    for job_id in jobs:
        claim = await drive.begin(job_id)
        await drive.record(claim, Checkpointed(step=1, artifact=shared))
        await drive.settle(claim, Success(msgspec.Raw(b"{}")), first=1)
    await freed(drive, tmp_path)

    for job_id, is_there in zip(jobs, (True, False), strict=True):
        await Removal(drive.nodes).delete_job(job_id, queues=[TRAINING])
        await freed(drive, tmp_path)
        assert left(store, shared) == [is_there]


async def test_a_job_that_cannot_be_read_keeps_all_that_it_names(
    drive: Driver, store: ArtifactStore, tmp_path: Path
) -> None:
    named, first = old(store, "named"), old(store, "first")
    job_id = await a_job(drive)
    await drive.record(await drive.begin(job_id), Checkpointed(step=1, artifact=first))
    damage = f'{{"event":"checkpoint","of":["a newer version","{named.sha256}"]}}'
    await drive.client.hset(f"{{hr:{TRAINING}}}:job:{job_id}", "8", f"checkpoint {damage}")
    await drive.client.hset(f"{{hr:{TRAINING}}}:job:{job_id}", "job", b"\xc1")

    await freed(drive, tmp_path)

    assert left(store, named, first) == [True, True]


@pytest.mark.parametrize("loss", ["flushed", "another"])
async def test_a_redis_that_does_not_know_the_store_removes_nothing(
    drive: Driver, store: ArtifactStore, tmp_path: Path, loss: str
) -> None:
    saved = old(store, "checkpoint")
    await drive.record(await drive.begin(await a_job(drive)), Checkpointed(step=1, artifact=saved))
    await freed(drive, tmp_path)
    await drive.client.flushall()
    if loss == "another":
        ArtifactStore(tmp_path / "other")
        await freed(drive, tmp_path / "other")

    with pytest.raises(StoreOfAnotherRedis, match="--adopt"):
        await freed(drive, tmp_path)
    assert left(store, saved) == [True]
    await freed(drive, tmp_path, adopt=True, dry_run=True)
    assert left(store, saved) == [True]
    await freed(drive, tmp_path, adopt=True)
    assert left(store, saved) == [False]


async def test_a_redis_that_refers_to_no_file_of_a_store_does_not_become_its_owner(
    drive: Driver, store: ArtifactStore, tmp_path: Path
) -> None:
    saved = old(store, "checkpoint")

    with pytest.raises(StoreOfAnotherRedis):
        await freed(drive, tmp_path)
    await drive.record(await drive.begin(await a_job(drive)), Checkpointed(step=1, artifact=saved))
    await freed(drive, tmp_path)

    assert left(store, saved) == [True]
