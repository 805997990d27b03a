"""Models are published and downloaded with both clients and the command line. With a real gateway,
Redis and workers."""

import base64
import io
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import pytest
import redis
from headrace import AsyncClient, Client, InvalidJob, JobFailed, ProtocolError, Settings
from headrace.endpoints import put_part
from headrace.transfers import PART_BYTES, Source
from PIL import Image
from shared_schemas.models import ModelDescription
from shared_schemas.store.files import ArtifactStore

from tests.support.gateways import ROOT, Gateway
from tests.support.onnx_models import bigram, encoder, linear, mean_colour, pair_scorer, word_tokenizer
from tests.support.onnx_tensors import identity
from tests.support.publishing import publishing_system
from tests.support.redis_server import RedisServer

DEADLINE_S = 60.0
GOOD = identity("float32", ("n", 2))
# In three parts.
LARGE = linear(np.ones((1 << 20, 5), np.float32), np.zeros(5, np.float32))


@pytest.fixture(scope="module")
def gateway(shared_redis: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    redis.Redis.from_url(shared_redis.url).flushall()
    with publishing_system(shared_redis.url, tmp_path_factory.mktemp("system")) as gateway:
        yield gateway


@pytest.fixture
def client(gateway: Gateway) -> Iterator[Client]:
    with Client(gateway.url, settings=Settings(retries=8)) as client:
        yield client


@pytest.fixture
async def awaited(gateway: Gateway) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(gateway.url) as client:
        yield client


def headrace(gateway: Gateway, *arguments: str, cwd: Path = ROOT, code: int = 0) -> str:
    """-> what it printed on stdout, and on stderr if it failed"""
    done = subprocess.run(
        [sys.executable, "-m", "headrace.cli", *arguments, "--url", gateway.url],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
    )
    assert done.returncode == code, done.stderr
    return done.stderr if code else done.stdout


def test_a_path_bytes_and_a_proto_are_published(client: Client, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(GOOD)
    given = [tmp_path / "model.onnx", str(tmp_path / "model.onnx"), GOOD, onnx.load_from_string(GOOD)]

    made = [client.publish(each, name="given", timeout_s=DEADLINE_S) for each in given]

    assert [str(model.ref) for model in made] == [f"given@{version}" for version in (1, 2, 3, 4)]
    assert {model.manifest.onnx.n_bytes for model in made} == {len(GOOD)}
    answer = client.result(client.submit_inference(model_id="given", input_data={"x": [[1, 2]]}).job_id)
    assert answer["outputs"]["y"]["data"] == [1, 2]


async def test_the_async_client_publishes_a_model_with_its_tokenizer(awaited: AsyncClient, tmp_path: Path) -> None:
    table = np.random.default_rng(0).standard_normal((7, 6)).astype(np.float32)
    (tmp_path / "tokenizer.json").write_bytes(word_tokenizer(["a", "queue", "waits"]))
    described = {"context_length": 16, "embedding": {"dimensions": 8, "pooling": "mean", "normalize": True}}

    model = await awaited.publish(
        encoder(table),
        name="encoder",
        manifest=described,
        task="text-embedding",
        tokenizer=tmp_path / "tokenizer.json",
        timeout_s=DEADLINE_S,
    )
    job = await awaited.submit_inference(model_id=str(model.ref), input_data="a queue waits")
    answer = await awaited.result(job.job_id, timeout_s=DEADLINE_S)
    path = await awaited.download("encoder", tmp_path, version=model.version)

    assert len(answer["embedding"]) == 8
    assert path == tmp_path / "encoder-1.onnx"
    assert path.read_bytes() == encoder(table)


def test_a_manifest_may_be_a_struct(client: Client) -> None:
    described = ModelDescription(task="tensors", batch_axis="n")

    assert client.publish(GOOD, name="struct", manifest=described).manifest.batch_axis == "n"


def test_a_refused_model_raises_its_reason(client: Client) -> None:
    with pytest.raises(JobFailed, match="not valid ONNX") as failed:
        client.publish(b"<html></html>", name="refused")

    assert failed.value.error is not None
    assert failed.value.error.code == "model_corrupt"


@pytest.mark.parametrize(
    ("given", "fields"),
    [
        ("/no/such/file.onnx", {}),
        (7, {}),
        (GOOD, {"labels": ["a"]}),
        (GOOD, {"tasks": "tensors"}),
        (GOOD, {"task": "x"}),
    ],
)
def test_what_cannot_be_published_is_refused_before_a_job_is_made(
    client: Client, given: Any, fields: dict[str, Any]
) -> None:
    with pytest.raises(InvalidJob):
        client.publish(given, name="never", **fields)

    assert "never" not in {model.name for model in client.models()}


def test_an_upload_goes_on_where_another_one_broke_and_sends_nothing_twice(client: Client) -> None:
    contents, seen = os.urandom(PART_BYTES * 2 + 5), list[tuple[int, int]]()
    ref = Source(contents).ref
    client.send(put_part(ref, 0, contents[:PART_BYTES]))

    made = client.upload(contents, on_progress=lambda *done: seen.append(done))
    client.upload(contents, on_progress=lambda *done: seen.append(done))

    assert made == ref
    assert seen == [(n, len(contents)) for n in (PART_BYTES, PART_BYTES * 2, len(contents), len(contents))]


def test_an_upload_survives_a_gateway_that_is_killed(gateway: Gateway, client: Client) -> None:
    contents, kills = os.urandom(PART_BYTES * 3), iter([True])

    def kill_once(n_bytes: int, _: int) -> None:
        if n_bytes and next(kills, False):
            gateway.kill()
            gateway.start()

    ref = client.upload(contents, on_progress=kill_once)

    assert ArtifactStore(gateway.folder / "artifacts").verify(ref).read_bytes() == contents


class LeftError(Exception):
    pass


def test_a_download_goes_on_where_it_broke_and_is_checked(client: Client, tmp_path: Path) -> None:
    client.publish(LARGE, name="large")
    seen: list[int] = []

    def leave(n_bytes: int, _: int) -> None:
        raise LeftError

    with pytest.raises(LeftError):
        client.download("large", tmp_path / "copy.onnx", on_progress=leave)
    path = client.download("large", tmp_path / "copy.onnx", on_progress=lambda n_bytes, _: seen.append(n_bytes))

    assert path.read_bytes() == LARGE
    assert seen == [PART_BYTES * 2, len(LARGE)]
    part = tmp_path / f"copy.onnx.{Source(LARGE).ref.sha256[:16]}.part"
    part.write_bytes(LARGE[:-1] + b"x")
    with pytest.raises(ProtocolError, match="not the file"):
        client.download("large", tmp_path / "copy.onnx")
    assert not part.exists()
    assert path.read_bytes() == LARGE


def test_the_command_line_publishes_and_downloads(gateway: Gateway, tmp_path: Path) -> None:
    weights = np.array([[1, -1], [-1, 1]], dtype=np.float32)
    (tmp_path / "m.onnx").write_bytes(linear(weights, np.zeros(2, np.float32)))
    table = ("--task", "tabular-classification", "--label", "no", "--label", "yes", "--feature", "a", "--feature", "b")

    said = headrace(gateway, "publish", "m.onnx", "--name", "cli", *table, cwd=tmp_path)
    again = headrace(gateway, "publish", "m.onnx", "--name", "cli", "--json", *table, cwd=tmp_path)
    path = headrace(gateway, "download", "cli@1", cwd=tmp_path)

    assert "cli@1" in said
    assert "features float32[batch, 2] → logits float32[batch, 2]" in said
    assert msgspec.json.decode(again)["result"]["model"] == "cli@2"
    assert (tmp_path / path.strip()).read_bytes() == (tmp_path / "m.onnx").read_bytes()
    answer = headrace(gateway, "submit", "inference", "cli", "--row", '{"a": 0, "b": 2}', "--wait")
    assert "yes" in answer


def test_the_command_line_reads_a_manifest_and_the_files_beside_it(gateway: Gateway, tmp_path: Path) -> None:
    table = np.random.default_rng(0).standard_normal((7, 6)).astype(np.float32)
    (tmp_path / "encoder.onnx").write_bytes(encoder(table))
    (tmp_path / "tokenizer.json").write_bytes(word_tokenizer(["a", "queue", "waits"]))
    manifest = {
        "task": "text-embedding",
        "tokenizer": "tokenizer.json",
        "context_length": 16,
        "embedding": {"dimensions": 8, "pooling": "mean", "normalize": True},
    }
    (tmp_path / "manifest.json").write_bytes(msgspec.json.encode(manifest))

    said = headrace(
        gateway, "publish", str(tmp_path / "encoder.onnx"), "--name", "text", "--manifest", f"{tmp_path}/manifest.json"
    )

    assert "text@1" in said


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("publish", "absent.onnx", "--name", "x"), 2, "absent.onnx"),
        (("publish", "bad.onnx", "--name", "bad"), 1, "not valid ONNX"),
        (("publish", "bad.onnx", "--name", "A B"), 2, "name"),
        (("publish", "bad.onnx", "--name", "bad", "--manifest", "bad.onnx"), 2, "not a JSON object"),
        (("download", "absent"), 3, "no such model"),
    ],
)
def test_the_command_line_says_what_is_wrong(
    gateway: Gateway, tmp_path: Path, arguments: tuple[str, ...], code: int, says: str
) -> None:
    (tmp_path / "bad.onnx").write_bytes(b"<html></html>")

    assert says in headrace(gateway, *arguments, cwd=tmp_path, code=code)


def test_a_reranker_a_token_classifier_and_an_image_classifier_are_published_and_asked(client: Client) -> None:
    words = word_tokenizer(["ada", "mill"])
    text = {"tokenizer": words, "context_length": 16}
    scores = np.array([0, 0, 0, 0, 1, 2], dtype=np.float32)
    labels = np.zeros((6, 2), dtype=np.float32)
    labels[4, 1] = 9.0
    file = io.BytesIO()
    Image.new("RGB", (9, 9), "red").save(file, "PNG")
    cases: dict[str, tuple[bytes, dict[str, Any], Any]] = {
        "rerank": (
            pair_scorer(scores),
            {**text, "rerank": {"activation": "identity"}},
            {"query": "ada", "documents": ["ada", "mill"]},
        ),
        "token-classification": (bigram(labels), {**text, "labels": ["O", "B-PER"]}, "mill ada"),
        "image-classification": (
            mean_colour([3, 4, 4]),
            {"labels": ["r", "g", "b"], "image": {"height": 4, "width": 4}},
            base64.b64encode(file.getvalue()).decode(),
        ),
    }
    answers = {}
    for task, (graph, fields, given) in cases.items():
        made = client.publish(graph, name=task, task=task, timeout_s=DEADLINE_S, **fields)
        job = client.submit_inference(model_id=str(made.ref), input_data=given)
        answers[task] = client.result(job.job_id, timeout_s=DEADLINE_S)

    assert [each["index"] for each in answers["rerank"]["results"]] == [1, 0]
    assert [each["text"] for each in answers["token-classification"]["entities"]] == ["ada"]
    assert answers["image-classification"]["label"] == "r"
    with pytest.raises(JobFailed, match="how it scores"):
        client.publish(pair_scorer(scores), name="none", task="rerank", timeout_s=DEADLINE_S, **text)
