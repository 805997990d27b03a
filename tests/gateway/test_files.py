"""PUT /files/{sha256}: uploads go to the artifact store as they arrive, and go on where they broke."""

import hashlib
import random
import shutil
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import anyio
import httpx
import psutil
import pytest
from shared_schemas.artifacts import ArtifactRef
from shared_schemas.store.files import ArtifactStore

from tests.support.gateways import Gateway, gateways, running_gateway
from tests.support.redis_server import RedisServer
from tests.support.tiny_disk import tiny_disk

DEADLINE_S = 20.0
CAP = 6 << 20
# The same in each process of a run, because names of tests contain its digest.
CONTENT = random.Random(7).randbytes(3 << 20)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
SENT = len(CONTENT) * 7 // 10


@pytest.fixture(scope="module")
def gateway(shared_redis: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("gateway")
    with running_gateway(shared_redis.url, folder, max_file_bytes=CAP, body_timeout_s=1.0) as gateway:
        yield gateway


@pytest.fixture
def served(gateway: Gateway, folder: Path, redis_url: str) -> Gateway:
    """With an empty store."""
    shutil.rmtree(folder / "artifacts", ignore_errors=True)
    return gateway


@pytest.fixture
def folder(gateway: Gateway) -> Path:
    return gateway.folder


@pytest.fixture
async def http(served: Gateway) -> AsyncIterator[httpx.AsyncClient]:
    async with served.client() as client:
        yield client


def kept(folder: Path) -> list[Path]:
    """All files of the store with contents."""
    return [path for path in (folder / "artifacts").rglob("*") if path.is_file() and path.stat().st_size]


def content_range(start: int, end: int, total: int) -> dict[str, str]:
    return {"Content-Range": f"bytes {start}-{end - 1}/{total}"}


def begun(gateway: Gateway, sent: bytes = CONTENT[:SENT], total: int = len(CONTENT)) -> socket.socket:
    """A connection that has sent a part of the file, and announced all of it."""
    address = urlsplit(gateway.url)
    connection = socket.create_connection((address.hostname, address.port), timeout=DEADLINE_S)
    head = f"PUT /files/{SHA256} HTTP/1.1\r\nHost: {address.netloc}\r\nContent-Length: {total}\r\n\r\n"
    connection.sendall(head.encode() + sent)
    return connection


async def until_there(http: httpx.AsyncClient, least: int) -> int:
    """Nothing announces how far an upload has come. -> the bytes that are there"""
    with anyio.fail_after(DEADLINE_S):
        while (n_bytes := (await http.get(f"/files/{SHA256}")).json().get("n_bytes", 0)) < least:  # noqa: ASYNC110
            await anyio.sleep(0.02)
    return int(n_bytes)


def of(response: httpx.Response) -> tuple[int, str]:
    assert response.headers["content-type"] == "application/problem+json"
    return response.status_code, response.json()["code"]


async def test_a_file_is_in_the_store_under_its_sha256_once_it_is_complete(
    http: httpx.AsyncClient, folder: Path
) -> None:
    absent = await http.get(f"/files/{SHA256}")
    stored = await http.put(f"/files/{SHA256}", content=CONTENT)
    again = await http.put(f"/files/{SHA256}", content=CONTENT)
    told = await http.get(f"/files/{SHA256}")

    assert of(absent) == (404, "file_not_found")
    assert (stored.status_code, again.status_code) == (201, 201)
    assert stored.json() == again.json() == told.json()
    assert told.json() == {"sha256": SHA256, "n_bytes": len(CONTENT), "is_complete": True}
    store = ArtifactStore(folder / "artifacts")
    path = store.verify(ArtifactRef(sha256=SHA256, n_bytes=len(CONTENT)))
    assert path.stat().st_mode & 0o777 == 0o644
    assert kept(folder) == [path]


async def test_a_complete_file_is_hashed_again_only_if_it_has_changed(
    served: Gateway, http: httpx.AsyncClient, folder: Path
) -> None:
    await http.put(f"/files/{SHA256}", content=CONTENT)
    process = psutil.Process(served.pid)

    def n_bytes_read() -> int:
        return int(process.io_counters().read_chars)

    before = n_bytes_read()
    for _ in range(10):
        assert (await http.put(f"/files/{SHA256}", content=b"x")).status_code == 201
    read = n_bytes_read() - before
    [path] = kept(folder)
    path.write_bytes(CONTENT[:-1] + b"x")
    mended = await http.put(f"/files/{SHA256}", content=CONTENT)

    assert len(CONTENT) <= read < 2 * len(CONTENT)
    assert mended.status_code == 201
    assert path.read_bytes() == CONTENT


async def test_an_upload_that_broke_goes_on_from_what_had_arrived(
    served: Gateway, http: httpx.AsyncClient, folder: Path
) -> None:
    begun(served).close()
    await until_there(http, SENT)
    too_far = await http.put(
        f"/files/{SHA256}", content=CONTENT[-1:], headers=content_range(len(CONTENT) - 1, len(CONTENT), len(CONTENT))
    )
    middle = SENT + 1000
    part = await http.put(
        f"/files/{SHA256}", content=CONTENT[SENT:middle], headers=content_range(SENT, middle, len(CONTENT))
    )
    rest = await http.put(
        f"/files/{SHA256}", content=CONTENT[middle:], headers=content_range(middle, len(CONTENT), len(CONTENT))
    )

    assert of(too_far) == (409, "upload_offset_wrong")
    assert (part.status_code, part.json()["n_bytes"]) == (202, middle)
    assert (rest.status_code, rest.json()["is_complete"]) == (201, True)
    [path] = kept(folder)
    assert path.read_bytes() == CONTENT


async def test_another_gateway_goes_on_after_one_was_killed(redis_url: str, tmp_path: Path) -> None:
    with gateways(redis_url, tmp_path, 2) as (first, second):
        async with second.client() as http:
            with begun(first):
                # What has arrived is written in pieces.
                n_bytes = await until_there(http, 1 << 20)
                first.kill()
            rest = await http.put(
                f"/files/{SHA256}", content=CONTENT[n_bytes:], headers=content_range(n_bytes, 3 << 20, 3 << 20)
            )

    assert rest.status_code == 201
    [path] = kept(tmp_path)
    assert path.read_bytes() == CONTENT


async def test_contents_with_another_sha256_are_refused_and_not_kept(http: httpx.AsyncClient, folder: Path) -> None:
    other = await http.put(f"/files/{SHA256}", content=CONTENT[:-1] + b"x" + CONTENT[-1:])
    ended_early = await http.put(f"/files/{SHA256}", content=b"")

    assert of(other) == of(ended_early) == (422, "digest_mismatch")
    assert kept(folder) == []
    assert (await http.get(f"/files/{SHA256}")).status_code == 404


async def chunks(n_bytes: int) -> AsyncIterator[bytes]:
    for _ in range(0, n_bytes, 1 << 16):
        yield bytes(1 << 16)


async def test_a_file_above_the_cap_is_refused_and_not_kept(http: httpx.AsyncClient, folder: Path) -> None:
    declared = await http.put(f"/files/{SHA256}", content=bytes(CAP + 1))
    counted = await http.put(f"/files/{SHA256}", content=chunks(CAP + (1 << 16)))
    as_part = await http.put(f"/files/{SHA256}", content=b"x", headers=content_range(0, 1, CAP + 1))

    assert of(declared) == of(counted) == of(as_part) == (413, "file_too_large")
    assert kept(folder) == []


async def test_a_part_that_is_longer_than_it_says_leaves_the_parts_before_it(
    http: httpx.AsyncClient, folder: Path
) -> None:
    """Without a Content-Length, only the end of the body shows how long it is."""
    middle = SENT + 1000
    before = await http.put(f"/files/{SHA256}", content=CONTENT[:SENT], headers=content_range(0, SENT, len(CONTENT)))
    too_long = await http.put(
        f"/files/{SHA256}", content=chunks(2 << 20), headers=content_range(SENT, middle, len(CONTENT))
    )
    left = await http.get(f"/files/{SHA256}")
    rest = await http.put(
        f"/files/{SHA256}", content=CONTENT[SENT:], headers=content_range(SENT, len(CONTENT), len(CONTENT))
    )

    assert before.status_code == 202
    assert of(too_long) == (400, "malformed_request")
    assert left.json() == {"sha256": SHA256, "n_bytes": SENT, "is_complete": False}
    assert rest.status_code == 201
    [path] = kept(folder)
    assert path.read_bytes() == CONTENT


@pytest.mark.parametrize("second", [content_range(0, 5, 5), content_range(1, 5, 5)], ids=["the same", "another"])
async def test_two_ranges_are_refused(http: httpx.AsyncClient, folder: Path, second: dict[str, str]) -> None:
    headers = [*content_range(0, 5, 5).items(), *second.items()]

    assert of(await http.put(f"/files/{SHA256}", content=b"12345", headers=headers)) == (400, "malformed_request")
    assert kept(folder) == []


async def test_an_upload_follows_no_link_out_of_the_store(
    http: httpx.AsyncClient, folder: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.write_bytes(b"of somebody else")
    other.chmod(0o600)
    part = folder / "artifacts" / "incoming" / f"{SHA256}.part"
    part.parent.mkdir(parents=True)
    part.symlink_to(other)

    told = await http.get(f"/files/{SHA256}")
    stored = await http.put(f"/files/{SHA256}", content=CONTENT)
    part.unlink()

    assert of(told) == (404, "file_not_found")
    assert of(stored) == (503, "store_failed")
    assert other.read_bytes() == b"of somebody else"
    assert other.stat().st_mode & 0o777 == 0o600


async def test_only_a_regular_file_counts_as_received(http: httpx.AsyncClient, folder: Path) -> None:
    store = folder / "artifacts"
    for path in (store / "sha256" / SHA256[:2] / SHA256, store / "incoming" / f"{SHA256}.part"):
        path.mkdir(parents=True)

    assert of(await http.get(f"/files/{SHA256}")) == (404, "file_not_found")
    assert of(await http.put(f"/files/{SHA256}", content=CONTENT)) == (503, "store_failed")


async def test_a_file_has_one_writer_at_a_time(served: Gateway, http: httpx.AsyncClient) -> None:
    with begun(served, CONTENT[: 1 << 20]):
        await until_there(http, 1 << 20)
        assert of(await http.put(f"/files/{SHA256}", content=CONTENT)) == (409, "upload_in_progress")


async def test_an_upload_that_falls_silent_ends_and_keeps_what_has_arrived(
    served: Gateway, http: httpx.AsyncClient
) -> None:
    with begun(served) as connection:
        answer = connection.recv(65_536)

        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b"body_timeout" in answer
    await until_there(http, SENT)


@pytest.mark.parametrize(
    ("path", "headers", "expected"),
    [
        (SHA256.upper(), {}, (422, "invalid_parameter")),
        (SHA256[1:], {}, (422, "invalid_parameter")),
        ("..%2f..%2fetc%2fpasswd", {}, (404, "route_not_found")),
        (SHA256, {"Content-Encoding": "gzip"}, (415, "encoding_unsupported")),
        (SHA256, {"Content-Range": "bytes 0-9/*"}, (400, "malformed_request")),
        (SHA256, {"Content-Range": "bytes 0-3/10"}, (400, "malformed_request")),
        (SHA256, {"Content-Range": "bytes 9-5/10"}, (400, "malformed_request")),
        (SHA256, {"Content-Range": "lines 0-4/5"}, (400, "malformed_request")),
    ],
)
async def test_a_request_that_makes_no_sense_is_refused(
    http: httpx.AsyncClient, folder: Path, path: str, headers: dict[str, str], expected: tuple[int, str]
) -> None:
    assert of(await http.put(f"/files/{path}", content=b"12345", headers=headers)) == expected
    assert kept(folder) == []


async def test_a_full_disk_is_a_507_that_leaves_nothing_behind(redis_url: str, tmp_path: Path) -> None:
    with (
        tiny_disk(2048) as disk,
        running_gateway(redis_url, tmp_path, artifacts_root=disk.path) as gateway,
    ):
        async with gateway.client() as http:
            full = await http.put(f"/files/{SHA256}", content=CONTENT)
            small = hashlib.sha256(b"small").hexdigest()
            fits = await http.put(f"/files/{small}", content=b"small")
            disk.make_read_only()
            read_only = await http.put(f"/files/{SHA256}", content=CONTENT[:9])

    assert of(full) == (507, "no_space")
    assert fits.status_code == 201
    assert of(read_only) == (503, "store_read_only")
    assert read_only.headers["retry-after"]


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
async def test_curl_uploads_and_goes_on(served: Gateway, http: httpx.AsyncClient, tmp_path: Path) -> None:
    file = tmp_path / "model.onnx"
    file.write_bytes(CONTENT)

    async def curl(*options: str) -> bytes:
        command = ["curl", "-sS", *options, f"{served.url}/files/{SHA256}"]
        return (await anyio.run_process(command)).stdout

    begun(served).close()
    await until_there(http, SENT)
    rest = await curl("-C", str(SENT), "-T", str(file))
    again = await curl("-T", str(file))

    assert b'"is_complete":true' in rest
    assert again == rest
