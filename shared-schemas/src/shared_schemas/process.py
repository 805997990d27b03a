"""What the processes of all parts do alike: write their logs, look for rings of objects, and end where a setting cannot
be. Knows no part."""

import asyncio
import atexit
import gc
import os
import platform
import sys
import threading
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any, BinaryIO, NoReturn

import msgspec

from shared_schemas.settings import SettingsRejected

# Of new objects. Those of the attempts and requests under way live for as long as these, and by default the interpreter
# looks for rings among them every 700: an eighth of all that a worker of many slots does, a tenth of what a submission
# costs, and pauses of up to 50 ms.
_COLLECT_EVERY = 20_000


def processor() -> str:
    """The model of this machine's CPU, on which the last bits of a sum depend."""
    with suppress(OSError), open("/proc/cpuinfo", encoding="utf-8", errors="replace") as lines:
        for line in lines:
            if line.startswith("model name"):
                return line.partition(":")[2].strip()[:64]
    return platform.machine()


def collect_seldom() -> None:
    """Once all is imported: what is here now stays."""
    gc.freeze()
    gc.set_threshold(_COLLECT_EVERY)


@contextmanager
def settings_checked(part: str) -> Iterator[None]:
    """SettingsRejected becomes one line, `part: message`, and exit code 78."""
    try:
        yield
    except SettingsRejected as error:
        _end(part, error)
    except ExceptionGroup as group:
        # It was found out while tasks ran.
        rejected = group.subgroup(SettingsRejected)
        while isinstance(rejected, ExceptionGroup):
            rejected = rejected.exceptions[0]  # type: ignore[assignment]
        if rejected is None:
            raise
        _end(part, rejected)


def _end(part: str, error: Exception) -> NoReturn:
    print(f"{part}: {error}", file=sys.stderr)
    raise SystemExit(os.EX_CONFIG) from None


def log_line(_: object, level: str, event: MutableMapping[str, Any]) -> bytes:
    """The last processor of structlog, for lines of JSON. It names the level and the time (UTC) as well: processors
    that do only that cost as much as all else of a line, and there is one for each request and each attempt."""
    event["level"], event["timestamp"] = level, datetime.now(UTC)
    return msgspec.json.encode(event, enc_hook=repr)


class LogLines:
    """What happened is written at the end of the event loop's turn, all of it at once: to write a line costs as much as
    to make it. What went wrong, and all that came before it, is written immediately; what is left, when the process
    ends."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._lines, self._lock = file, list[bytes](), threading.Lock()
        atexit.register(self._flush)

    def info(self, line: bytes) -> None:
        if self._append(line) == 1:
            try:
                asyncio.get_running_loop().call_soon(self._flush)
            except RuntimeError:
                self._flush()

    def error(self, line: bytes) -> None:
        self._append(line)
        self._flush()

    debug, warning, critical = info, error, error

    def _append(self, line: bytes) -> int:
        """-> how many are waiting"""
        with self._lock:
            self._lines.append(line + b"\n")
            return len(self._lines)

    def _flush(self) -> None:
        with self._lock:
            lines, self._lines = self._lines, []
            self._file.write(b"".join(lines))
            self._file.flush()
