"""Files that are no ONNX, or lead out of themselves, are refused with what they are, and nothing in them runs. With a
real gateway, Redis and workers."""

import gzip
import hashlib
import json
import os
import pickle
from collections.abc import AsyncIterator, Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import onnx
import pytest
import redis
import torch
from safetensors.numpy import save as save_safetensors

from tests.support.gateways import Gateway
from tests.support.onnx_models import bigram, linear, with_external_data
from tests.support.publishing import Publisher, publisher, publishing_system
from tests.support.redis_server import RedisServer

ONNX = linear(np.ones((64, 8), np.float32), np.zeros(8, np.float32))
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 12345\n"
TWO_GIB = 2 << 30


@pytest.fixture(scope="module")
def gateway(shared_redis: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    redis.Redis.from_url(shared_redis.url).flushall()
    folder = tmp_path_factory.mktemp("system")
    with publishing_system(shared_redis.url, folder, probe_memory_bytes=6 << 30) as gateway:
        yield gateway


@pytest.fixture
async def user(gateway: Gateway) -> AsyncIterator[Publisher]:
    async with publisher(gateway) as made:
        yield made


class Canary:
    """Makes a folder when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


def torch_saved(canary: Canary, *, is_zip: bool) -> bytes:
    target = BytesIO()
    torch.save({"weight": torch.ones(2), "x": canary}, target, _use_new_zipfile_serialization=is_zip)
    return target.getvalue()


def numpy_saved(canary: Canary) -> bytes:
    target = BytesIO()
    np.save(target, np.array([canary], dtype=object), allow_pickle=True)
    return target.getvalue()


def joblib_saved(canary: Canary, **options: Any) -> bytes:
    target = BytesIO()
    joblib.dump({"x": canary}, target, **options)
    return target.getvalue()


ARMED: dict[str, Callable[[Canary], bytes]] = {
    "pickle 0": lambda canary: pickle.dumps(canary, protocol=0),
    "pickle 2": lambda canary: pickle.dumps(canary, protocol=2),
    "pickle 5": lambda canary: pickle.dumps(canary, protocol=5),
    "torch.save": lambda canary: torch_saved(canary, is_zip=True),
    "torch.save of old": lambda canary: torch_saved(canary, is_zip=False),
    "numpy.save of objects": numpy_saved,
    "joblib": joblib_saved,
    "joblib, compressed": lambda canary: joblib_saved(canary, compress=("gzip", 3)),
    "YAML with tags": lambda canary: f'!!python/object/apply:os.mkdir ["{canary.path}"]\n'.encode(),
}


@pytest.mark.parametrize("name", ARMED)
@pytest.mark.parametrize("place", ["onnx", "tokenizer"])
async def test_nothing_in_a_file_runs(user: Publisher, tmp_path: Path, place: str, name: str) -> None:
    path = tmp_path / "canary"
    contents = ARMED[name](Canary(path))
    model: bytes = contents
    manifest: dict[str, Any] = {"task": "tensors"}
    if place == "tokenizer":
        model = bigram(np.zeros((260, 260), np.float32))
        manifest = {"task": "text-generation", "tokenizer": await user.upload(contents), "context_length": 8}

    job = await user.publish(model, "bad", manifest=manifest)

    assert (job["status"], job["error"]["code"], job["attempt"]) == ("failed", "model_corrupt", 1)
    assert await user.versions("bad") == []
    assert not path.exists()


KNOWN: dict[str, tuple[bytes, str]] = {
    "html": (b"\n<!DOCTYPE html><html><body>404</body></html>", "HTML"),
    "torch.save": (torch_saved(Canary(Path("/nonexistent")), is_zip=True), "torch.onnx.export"),
    "pickle": (pickle.dumps({"a": 1}), "pickle"),
    "safetensors": (save_safetensors({"w": np.ones((4, 4), np.float32)}), "safetensors"),
    "git lfs": (POINTER, "git lfs pull"),
    "gzip": (gzip.compress(ONNX), "unpack"),
}


@pytest.mark.parametrize("name", KNOWN)
async def test_the_error_says_what_the_file_is_and_what_to_do(user: Publisher, name: str) -> None:
    contents, says = KNOWN[name]

    job = await user.publish(contents, "bad")

    assert (job["status"], job["error"]["code"], job["attempt"]) == ("failed", "model_corrupt", 1)
    assert says in job["error"]["message"]


def safetensors(header: Any, *, n_bytes: int | None = None) -> bytes:
    """n_bytes: the length of the header, if it is to be another one than it has."""
    text = json.dumps(header).encode()
    return (len(text) if n_bytes is None else n_bytes).to_bytes(8, "little") + text + bytes(64)


def of(dtype: str, shape: list[int], offsets: list[int]) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


SAFETENSORS = {
    "a header of 101 MB": safetensors({}, n_bytes=101 << 20),
    "a header of 2^64 bytes": safetensors({}, n_bytes=2**64 - 1),
    "10^5 tensors": safetensors({f"t{i}": of("F32", [1], [0, 4]) for i in range(100_000)}),
    "offsets that overlap": safetensors({"a": of("F32", [4], [0, 16]), "b": of("F32", [4], [8, 24])}),
    "a shape that overflows": safetensors({"a": of("F32", [2**62, 4], [0, 16])}),
    "a dtype that there is not": safetensors({"a": of("F33", [4], [0, 16])}),
}


@pytest.mark.parametrize("name", SAFETENSORS)
async def test_a_file_of_safetensors_is_never_a_model(user: Publisher, name: str) -> None:
    job = await user.publish(SAFETENSORS[name], "bad")

    assert (job["status"], job["error"]["code"], job["attempt"]) == ("failed", "model_corrupt", 1)


async def test_a_file_beyond_what_protobuf_reads_is_refused_before_it_is_read(
    gateway: Gateway, user: Publisher
) -> None:
    sha256 = hashlib.sha256(b"stands for the digest of 2 GiB, which nobody computes").hexdigest()
    place = gateway.folder / "artifacts" / "sha256" / sha256[:2] / sha256
    place.parent.mkdir(parents=True, exist_ok=True)
    with place.open("wb") as file:
        file.truncate(TWO_GIB)
    body = {"name": "bad", "onnx": {"sha256": sha256, "n_bytes": TWO_GIB}}

    job = (await user.http.post("/models", json=body, headers={"Prefer": "wait=60"})).json()
    place.unlink()

    assert (job["status"], job["error"]["code"]) == ("failed", "model_corrupt")
    assert "2 GiB" in job["error"]["message"]


@pytest.mark.parametrize("link", ["symbolic", "hard"])
@pytest.mark.parametrize("entries", [{}, {"offset": "-1"}, {"offset": "0", "length": str(10**20)}], ids=str)
async def test_a_link_in_the_store_is_not_followed_to_a_tensor(
    gateway: Gateway, user: Publisher, tmp_path: Path, link: str, entries: dict[str, str]
) -> None:
    outside = with_external_data(ONNX, tmp_path)
    model = onnx.load_from_string(outside)
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            if entry.key in entries:
                entry.value = entries[entry.key]
    contents = model.SerializeToString()
    sha256 = hashlib.sha256(contents).hexdigest()
    beside = gateway.folder / "artifacts" / "sha256" / sha256[:2] / "weights.bin"
    beside.parent.mkdir(parents=True, exist_ok=True)
    beside.unlink(missing_ok=True)
    (beside.symlink_to if link == "symbolic" else beside.hardlink_to)(tmp_path / "weights.bin")

    job = await user.publish(contents, "bad")

    assert (job["status"], job["error"]["code"]) == ("failed", "model_unsupported")
    assert "outside its file" in job["error"]["message"]
