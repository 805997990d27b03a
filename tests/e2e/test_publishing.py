"""Anyone publishes an ONNX file: uploaded, checked in a process of its own, and served. With a real
gateway, Redis and workers."""

import os
import pickle
import signal
import zipfile
from collections.abc import AsyncIterator, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import anyio
import numpy as np
import onnx
import psutil
import pytest
import redis
from shared_schemas.artifacts import ArtifactRef
from shared_schemas.store.files import ArtifactStore
from shared_schemas.stream.connection import connect
from shared_schemas.stream.redis_settings import RedisSettings
from training_worker.collecting import collect

from tests.support.gateways import Gateway
from tests.support.onnx_models import endless_loop, linear, with_external_data
from tests.support.onnx_tensors import graph, identity
from tests.support.publishing import Publisher, a_huge_tensor, of_one_node, publisher, publishing_system
from tests.support.redis_server import RedisServer

TIMEOUT_S = 4.0
MEMORY = 6 << 30
GOOD = identity("float32", ("n", 2))


@pytest.fixture(scope="module")
def gateway(shared_redis: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    redis.Redis.from_url(shared_redis.url).flushall()
    folder = tmp_path_factory.mktemp("system")
    limits = {"probe_timeout_s": TIMEOUT_S, "probe_memory_bytes": MEMORY, "allowed_domains": "org.allowed"}
    with publishing_system(shared_redis.url, folder, **limits) as gateway:
        yield gateway


@pytest.fixture
async def user(gateway: Gateway) -> AsyncIterator[Publisher]:
    async with publisher(gateway) as made:
        yield made


async def test_a_published_file_is_served_as_its_graph_declares(gateway: Gateway, user: Publisher) -> None:
    absent = await user.http.get("/models/own")
    job = await user.publish(GOOD, "own")
    model = (await user.http.get("/models/own/versions/latest")).json()
    events = (await user.http.get(f"/jobs/{job['job_id']}/events", headers={"Accept": "application/json"})).json()
    downloaded = await user.http.get("/models/own/versions/1/file")

    assert absent.status_code == 404
    assert (job["status"], job["result"]["model"], job["result"]["ran"]) == ("succeeded", "own@1", True)
    assert model["job_id"] == job["job_id"]
    assert model["manifest"]["task"] == "tensors"
    assert model["manifest"]["inputs"] == [{"name": "x", "dtype": "float32", "shape": ["n", 2]}]
    assert model["manifest"]["opset"] == 21
    assert "batch_axis" not in model["manifest"]
    lines = [each["line"].split()[0] for each in events["events"] if each["event"] == "log"]
    assert lines == ["checking", "loading", "running"]
    done = [(each["fraction"], each["message"]) for each in events["events"] if each["event"] == "progress"]
    assert done == sorted(done)
    assert done[-1] == (1.0, "checked")
    assert downloaded.content == GOOD
    assert (await user.ask("own", {"x": [[1, 2.5]]}))["outputs"]["y"]["data"] == [1.0, 2.5]
    assert (await user.ask(job["job_id"], {"x": [[3, 4]]}))["outputs"]["y"]["data"] == [3.0, 4.0]


async def test_a_manifest_says_what_the_file_does_not_show(user: Publisher) -> None:
    weights = np.array([[1, -1], [-1, 1]], dtype=np.float32)
    manifest = {"task": "tabular-classification", "labels": ["no", "yes"], "features": ["a", "b"]}
    job = await user.publish(linear(weights, np.zeros(2, np.float32)), "labelled", manifest=manifest)

    assert job["status"] == "succeeded", job
    assert (await user.ask("labelled", {"a": 0, "b": 2}))["label"] == "yes"


@pytest.mark.parametrize("shape", [None, [], ["n"], [2, "m", "m"], ["", ""]], ids=str)
async def test_the_signature_is_that_of_the_file(user: Publisher, shape: list[int | str] | None) -> None:
    job = await user.publish(identity("int64", shape), "shaped")

    assert job["result"]["inputs"] == [{"name": "x", "dtype": "int64", "shape": shape}]


async def test_a_model_that_takes_no_ones_is_published_without_a_run(user: Publisher) -> None:
    shape = onnx.helper.make_tensor_value_info("shape", onnx.TensorProto.INT64, ["d"])
    x, y = (onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in "xy")
    node = onnx.helper.make_node("Reshape", ["x", "shape"], ["y"])
    made = onnx.helper.make_graph([node], "graph", [x, shape], [y])
    cut = onnx.helper.make_model(made, opset_imports=[onnx.helper.make_opsetid("", 21)], ir_version=10)
    cut.graph.input[0].type.tensor_type.shape.dim.add().dim_value = 6

    job = await user.publish(cut.SerializeToString(), "reshape")

    assert (job["status"], job["result"]["ran"]) == ("succeeded", False)
    answer = await user.ask("reshape", {"x": [1, 2, 3, 4, 5, 6], "shape": [2, 3]})
    assert answer["outputs"]["y"]["shape"] == [2, 3]


async def test_an_endless_model_of_any_task_is_refused(user: Publisher) -> None:
    manifest = {"task": "tabular-regression", "features": ["a", "b", "c"]}

    job = await user.publish(endless_loop(3), "bad", manifest=manifest)

    assert (job["status"], job["error"]["code"]) == ("failed", "model_timeout")


class Canary:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


def zipped() -> bytes:
    target = BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr("data.pkl", b"x")
    return target.getvalue()


WHOLE = linear(np.ones((64, 8), np.float32), np.zeros(8, np.float32))
SAFETENSORS = (1 << 40).to_bytes(8, "little") + b'{"a": {"dtype": "F32"}}'
NAMED = onnx.helper.make_model(
    onnx.helper.make_graph(
        [onnx.helper.make_node("Identity", ["first"], ["second"])],
        "graph",
        [onnx.helper.make_tensor_value_info("first", onnx.TensorProto.FLOAT, ["third"])],
        [onnx.helper.make_tensor_value_info("second", onnx.TensorProto.FLOAT, ["third"])],
    ),
    opset_imports=[onnx.helper.make_opsetid("", 21)],
    ir_version=10,
).SerializeToString()


def not_utf8(name: str) -> bytes:
    """An identity in which this name is no text. The onnx package does not write one."""
    contents = NAMED.replace(name.encode(), b"\xff" * len(name))
    assert contents != NAMED
    return contents


def without_outputs() -> bytes:
    model = onnx.load_from_string(GOOD)
    model.graph.ClearField("output")
    return bytes(model.SerializeToString())


BAD = {
    "empty": (b"", "model_corrupt"),
    "random": (os.urandom(5000), "model_corrupt"),
    "truncated": (WHOLE[: len(WHOLE) // 2], "model_corrupt"),
    "html": (b"<!DOCTYPE html><html><body>404 Not Found</body></html>", "model_corrupt"),
    "zip, as a .pt file is": (zipped(), "model_corrupt"),
    "safetensors": (SAFETENSORS, "model_corrupt"),
    "text": (b"hello\n" * 50, "model_corrupt"),
    "an operator of another domain": (of_one_node("Secret", domain="com.example"), "model_unsupported"),
    "an allowed domain, an unknown operator": (of_one_node("Secret", domain="org.allowed"), "model_unsupported"),
    "an unknown operator": (of_one_node("Secret"), "model_unsupported"),
    "an opset of the future": (of_one_node("Identity", opset=9999), "model_unsupported"),
    "10^12 numbers": (a_huge_tensor(), "out_of_memory"),
    "an endless loop": (endless_loop(3), "model_timeout"),
    "a name of an input that is not UTF-8": (not_utf8("first"), "model_unsupported"),
    "a name of an output that is not UTF-8": (not_utf8("second"), "model_unsupported"),
    "a name of a dimension that is not UTF-8": (not_utf8("third"), "model_unsupported"),
    "no outputs": (without_outputs(), "model_unsupported"),
    "300 dimensions": (identity("float32", [1] * 300), "model_unsupported"),
    "33 dimensions": (identity("float32", [1] * 33), "model_unsupported"),
    "an input of 10^12 numbers": (identity("float32", [10**12]), "out_of_memory"),
    "an input of 2^63 numbers": (identity("float32", [2**62, 2]), "out_of_memory"),
}


@pytest.mark.parametrize("name", BAD)
async def test_a_bad_file_is_refused_with_its_reason_and_never_visible(user: Publisher, name: str) -> None:
    contents, code = BAD[name]

    job = await user.publish(contents, "bad")

    assert (job["status"], job["error"]["code"]) == ("failed", code), job["error"]
    assert job["attempt"] == 1
    assert "retryable" not in job["error"]
    assert await user.versions("bad") == []
    assert await user.http.get("/dead-letters/" + job["job_id"])


async def test_a_file_that_breaks_the_check_itself_is_tried_once(user: Publisher) -> None:
    features = onnx.helper.make_tensor_value_info("features", onnx.TensorProto.FLOAT, ["n", 2, 2**62])
    value = onnx.helper.make_tensor_value_info("value", onnx.TensorProto.FLOAT, ["n", 2, 2**62])
    contents = graph([onnx.helper.make_node("Identity", ["features"], ["value"])], [features], [value])

    job = await user.publish(contents, "bad", manifest={"task": "tabular-regression", "features": ["a", "b"]})

    assert (job["status"], job["error"]["code"]) == ("failed", "model_unsupported"), job["error"]
    assert job["attempt"] == 1
    assert "retryable" not in job["error"]


async def test_a_pickle_is_never_loaded(user: Publisher, tmp_path: Path) -> None:
    canary = tmp_path / "canary"

    job = await user.publish(pickle.dumps(Canary(canary)), "bad")

    assert (job["status"], job["error"]["code"]) == ("failed", "model_corrupt")
    assert not canary.exists()


@pytest.mark.parametrize("location", ["weights.bin", "../../etc/passwd", "/etc/passwd", ""])
async def test_a_file_that_names_other_files_is_refused(user: Publisher, tmp_path: Path, location: str) -> None:
    model = onnx.load_from_string(with_external_data(WHOLE, tmp_path))
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = location

    job = await user.publish(model.SerializeToString(), "bad")

    assert (job["status"], job["error"]["code"]) == ("failed", "model_unsupported")


async def test_a_manifest_that_does_not_fit_the_file_is_refused(user: Publisher) -> None:
    labels = await user.publish(GOOD, "bad", manifest={"task": "text-classification", "labels": ["a"]})
    axis = await user.publish(GOOD, "bad", manifest={"task": "tensors", "batch_axis": "m"})

    assert labels["error"]["code"] == axis["error"]["code"] == "model_unsupported"


@pytest.mark.parametrize(
    ("body", "status", "pointer"),
    [
        ({"onnx": {"sha256": "0" * 64, "n_bytes": 5}}, 404, "/onnx"),
        ({"onnx": {"sha256": "../../x", "n_bytes": 5}}, 422, "/onnx/sha256"),
        ({"name": "A/B"}, 422, "/name"),
        ({"manifest": {"task": "magic"}}, 422, "/manifest/task"),
        ({"manifest": {"task": "tensors", "lables": []}}, 422, "/manifest/lables"),
        ({"manifest": {"labels": ["a"]}}, 422, "/manifest"),
        ({"manifest": {"task": "rerank", "rerank": {"activation": "identity", "top": 1}}}, 422, "/manifest/rerank/top"),
        ({"manifest": {"task": "tensors", "image": {"height": 1, "wdth": 1}}}, 422, "/manifest/image/wdth"),
        (
            {"manifest": {"task": "text-embedding", "tokenizer": {"sha256": "1" * 64, "n_bytes": 5}}},
            404,
            "/manifest/tokenizer",
        ),
        ({"onxx": {}}, 422, "/onxx"),
    ],
)
async def test_a_body_that_cannot_be_right_is_refused_at_once(
    user: Publisher, body: dict[str, Any], status: int, pointer: str
) -> None:
    right = {"name": "own", "onnx": await user.upload(GOOD)}

    answer = await user.http.post("/models", json={**right, **body})

    assert answer.status_code == status, answer.text
    assert answer.json()["errors"][0]["pointer"].startswith(pointer)


async def test_a_file_of_another_size_is_not_the_file(user: Publisher) -> None:
    named = await user.upload(GOOD) | {"n_bytes": 5}

    answer = await user.http.post("/models", json={"name": "own", "onnx": named})

    assert (answer.status_code, answer.json()["code"]) == (404, "file_not_found")


async def test_a_file_that_was_replaced_in_the_store_is_refused(gateway: Gateway, user: Publisher) -> None:
    contents = of_one_node("Abs")
    named = await user.upload(contents)
    path = ArtifactStore(gateway.folder / "artifacts").path(ArtifactRef(**named))
    path.write_bytes(contents[:-1] + b"x")

    answer = await user.http.post("/models", json={"name": "bad", "onnx": named}, headers={"Prefer": "wait=60"})

    assert answer.json()["error"]["code"] == "model_corrupt"
    # To upload it again mends it.
    assert (await user.publish(contents, "mended"))["status"] == "succeeded"


async def test_the_same_request_twice_is_one_version(user: Publisher) -> None:
    key = {"Idempotency-Key": "once"}
    first, second = [await user.submit(GOOD, "once", headers=key) for _ in range(2)]
    await user.ended(first["job_id"])

    assert first["job_id"] == second["job_id"]
    assert await user.versions("once") == [1]


async def test_two_publishers_of_one_name_get_a_version_each(user: Publisher) -> None:
    jobs: list[Any] = []

    async def publish(op: str) -> None:
        jobs.append(await user.publish(of_one_node(op), "shared"))

    async with anyio.create_task_group() as group:
        for op in ("Abs", "Neg", "Relu"):
            group.start_soon(publish, op)

    assert sorted(job["result"]["model"] for job in jobs) == ["shared@1", "shared@2", "shared@3"]
    assert await user.versions("shared") == [3, 2, 1]


async def test_a_replay_publishes_nothing_and_gives_the_same(user: Publisher) -> None:
    job = await user.publish(GOOD, "again")
    replay = (await user.http.post(f"/jobs/{job['job_id']}/replay")).json()
    ended = await user.ended(replay["job_id"])

    assert ended["result"]["model"] is None
    assert ended["replay"]["identical"] is True
    assert await user.versions("again") == [1]


async def child_of_the_check(user: Publisher, job_id: str) -> psutil.Process:
    """The process that runs the model of the job, as soon as it does."""
    async with user.http.stream("GET", f"/jobs/{job_id}/events") as events:
        async for line in events.aiter_lines():
            if '"message":"running"' in line:
                break
    [worker] = [each for each in psutil.Process().children() if "inference_worker.publishing" in each.cmdline()]
    [child] = worker.children()
    return child


async def test_a_check_that_crashes_fails_its_job_and_not_the_worker(user: Publisher) -> None:
    job = await user.submit(endless_loop(4), "bad")
    (await child_of_the_check(user, job["job_id"])).send_signal(signal.SIGSEGV)
    ended = await user.ended(job["job_id"])
    after = await user.publish(GOOD, "after")

    assert ended["error"]["code"] == "model_unsupported"
    assert "SIGSEGV" in ended["error"]["message"]
    assert after["status"] == "succeeded"


async def test_a_check_that_was_killed_is_tried_again(user: Publisher) -> None:
    job = await user.submit(endless_loop(5), "bad", retry={"max_attempts": 2, "backoff_s": 0.1})
    (await child_of_the_check(user, job["job_id"])).kill()
    ended = await user.ended(job["job_id"])
    attempts = (await user.http.get(f"/jobs/{job['job_id']}/attempts")).json()["attempts"]

    assert [each["error"]["code"] for each in attempts] == ["worker_process_died", "model_timeout"]
    assert ended["status"] == "failed"


async def test_a_cancelled_check_leaves_no_process(user: Publisher) -> None:
    job = await user.submit(endless_loop(6), "bad")
    child = await child_of_the_check(user, job["job_id"])
    await user.http.post(f"/jobs/{job['job_id']}/cancel")
    ended = await user.ended(job["job_id"])

    assert ended["status"] == "cancelled"
    psutil.wait_procs([child], timeout=10)
    assert not child.is_running()


async def test_the_file_stays_while_a_version_or_a_job_needs_it(
    shared_redis: RedisServer, gateway: Gateway, user: Publisher
) -> None:
    contents = of_one_node("Exp")
    job = await user.publish(contents, "kept")
    ref = ArtifactRef(**(await user.upload(contents)))
    unused = ArtifactRef(**(await user.upload(b"never published")))
    root = gateway.folder / "artifacts"
    client = connect(RedisSettings(redis_url=shared_redis.url))

    async def is_kept(ref: ArtifactRef, *, grace_s: float = 0.0) -> bool:
        await collect(client, root, checkpoints_kept=1, grace_s=grace_s)
        return ArtifactStore(root).received(ref.sha256) is not None

    try:
        assert await is_kept(unused, grace_s=60)
        assert not await is_kept(unused)
        assert await is_kept(ref)
        await user.http.put("/models/kept/aliases/prod", json={"version": 1})
        aliased = await user.http.delete("/models/kept/versions/1")
        assert (aliased.status_code, aliased.json()["code"]) == (409, "in_use")
        await user.publish(of_one_node("Log"), "kept")
        await user.http.put("/models/kept/aliases/prod", json={"version": 2})
        assert (await user.http.delete(f"/jobs/{job['job_id']}")).status_code == 204
        assert await is_kept(ref)
        assert (await user.http.delete("/models/kept/versions/1")).status_code == 204
        assert not await is_kept(ref)
    finally:
        await client.aclose()
    assert (await user.http.get("/models/kept/versions/2/file")).status_code == 200
