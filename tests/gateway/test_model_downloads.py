"""GET /models/{name}/versions/{version}/file: the file of a model, whole or in part."""

import hashlib
import os
import random
import shutil
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import anyio
import httpx
import pytest
from msgspec.structs import replace
from shared_schemas.artifacts import ArtifactRef
from shared_schemas.store.files import ArtifactStore

from tests.support.gateways import Gateway, a_manifest, driver, running_gateway
from tests.support.redis_server import RedisServer

DEADLINE_S = 20.0
CONTENT = random.Random(7).randbytes(3 << 20)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
SENT = len(CONTENT) * 7 // 10


@pytest.fixture(scope="module")
def gateway(shared_redis: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with running_gateway(shared_redis.url, tmp_path_factory.mktemp("gateway")) as gateway:
        yield gateway


@pytest.fixture
def folder(gateway: Gateway) -> Path:
    return gateway.folder


@pytest.fixture
async def http(gateway: Gateway, folder: Path, redis_url: str) -> AsyncIterator[httpx.AsyncClient]:
    """Of a gateway with an empty store."""
    shutil.rmtree(folder / "artifacts", ignore_errors=True)
    async with gateway.client() as client:
        yield client


def of(response: httpx.Response) -> tuple[int, str]:
    assert response.headers["content-type"] == "application/problem+json"
    return response.status_code, response.json()["code"]


async def published(redis_url: str, folder: Path) -> ArtifactRef:
    ref = ArtifactStore(folder / "artifacts").put_bytes(CONTENT)
    async with driver(redis_url) as drive:
        await drive.publish("model", manifest=replace(a_manifest(), onnx=ref))
    return ref


async def test_the_file_of_a_version_is_downloaded_whole_or_in_part(
    redis_url: str, http: httpx.AsyncClient, folder: Path
) -> None:
    ref = await published(redis_url, folder)
    path = "/models/model/versions/1/file"

    async def ask(method: str = "GET", **headers: str) -> httpx.Response:
        return await http.request(
            method, path, headers={name.replace("_", "-"): value for name, value in headers.items()}
        )

    whole, head = await ask(), await ask("HEAD")
    rest, last = await ask(Range=f"bytes={SENT}-"), await ask(Range="bytes=-5")
    behind = await ask(Range=f"bytes={len(CONTENT)}-")
    known = await ask(If_None_Match=f'"{ref.sha256}"')
    changed = await ask(Range="bytes=0-4", If_Range='"other"')
    by_alias = await http.get("/models/model/versions/latest/file")

    assert whole.content == by_alias.content == CONTENT
    assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", str(len(CONTENT)))
    assert whole.headers["etag"] == head.headers["etag"] == f'"{SHA256}"'
    assert (rest.status_code, rest.content) == (206, CONTENT[SENT:])
    assert (last.status_code, last.content) == (206, CONTENT[-5:])
    assert of(behind) == (416, "range_not_satisfiable")
    assert behind.headers["content-range"] == f"bytes */{len(CONTENT)}"
    assert (known.status_code, known.content) == (304, b"")
    assert (changed.status_code, changed.content) == (200, CONTENT)


@pytest.mark.parametrize("value", ["bytes=5-2", "bytes=-", "bytes=0-1,4-5", "lines=0-1", "bytes=a-b", "x" * 500])
async def test_a_range_that_is_not_one_range_is_ignored(
    redis_url: str, http: httpx.AsyncClient, folder: Path, value: str
) -> None:
    await published(redis_url, folder)

    answer = await http.get("/models/model/versions/1/file", headers={"Range": value})

    assert (answer.status_code, answer.content) == (200, CONTENT)


async def test_a_version_whose_file_is_gone_is_not_found(redis_url: str, http: httpx.AsyncClient, folder: Path) -> None:
    ref = await published(redis_url, folder)
    ArtifactStore(folder / "artifacts").remove(ref)

    assert of(await http.get("/models/model/versions/1/file")) == (404, "file_not_found")
    assert of(await http.get("/models/model/versions/9/file")) == (404, "model_not_found")


async def test_a_reader_that_stops_reading_is_cut_off(redis_url: str, tmp_path: Path) -> None:
    large = os.urandom(1 << 20) * 16
    ref = ArtifactStore(tmp_path / "artifacts").put_bytes(large)
    with running_gateway(redis_url, tmp_path, send_timeout_s=0.5) as gateway:
        async with driver(redis_url) as drive:
            await drive.publish("model", manifest=replace(a_manifest(), onnx=ref))
        address = urlsplit(gateway.url)
        with socket.create_connection((address.hostname, address.port), timeout=DEADLINE_S) as connection:
            head = f"GET /models/model/versions/1/file HTTP/1.1\r\nHost: {address.netloc}\r\n\r\n"
            connection.sendall(head.encode())
            await until_served(gateway, "/file")
            n_bytes = 0
            try:
                while piece := connection.recv(1 << 20):
                    n_bytes += len(piece)
            except ConnectionResetError:
                pass

    assert n_bytes < len(large)
    assert [line for line in gateway.log() if line.get("level") == "error"] == []


async def until_served(gateway: Gateway, route: str) -> None:
    """The gateway writes a line about a request once it is over."""
    with anyio.fail_after(DEADLINE_S):
        while not any(line.get("route", "").endswith(route) for line in gateway.log()):  # noqa: ASYNC110
            await anyio.sleep(0.05)
