"""The logs of a process: JSON on a pipe, readable on a terminal. Never a body, a header or a query.

Needs structlog, the extra `logs` of this package. Knows no job: callers bind their ids.
"""

import asyncio
import atexit
import logging
import sys
import threading
from collections.abc import MutableMapping
from datetime import UTC, datetime
from typing import Any, BinaryIO

import msgspec
import structlog


def configure_logs(log_format: str, *, with_libraries: bool = False) -> None:
    """log_format: json, console, or auto, which is console on a terminal. Logs go to stderr.
    with_libraries: also write the warnings of libraries, in the same format."""
    lines = _BufferedLogWriter(sys.stderr.buffer)
    readable = log_format == "console" or (log_format == "auto" and sys.stderr.isatty())
    exceptions, stamps = structlog.processors.format_exc_info, structlog.processors.TimeStamper(fmt="iso", utc=True)
    console = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    structlog.configure(
        processors=[structlog.processors.add_log_level, stamps, exceptions, console]
        if readable
        else [exceptions, _log_line],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr) if readable else lambda *_: lines,
        cache_logger_on_first_use=True,
    )
    if with_libraries:
        logging.basicConfig(level=logging.WARNING, handlers=[_FromLibraries()], force=True)


class _FromLibraries(logging.Handler):
    """Passes what libraries log with the standard library on to structlog."""

    def emit(self, record: logging.LogRecord) -> None:
        structlog.get_logger().log(
            record.levelno, "library_logged", logger=record.name, message=record.getMessage(), exc_info=record.exc_info
        )


def _log_line(_: object, level: str, event: MutableMapping[str, Any]) -> bytes:
    """The last processor of structlog: makes a line of JSON, with the level and the time (UTC).
    Separate processors for these two would cost as much as the rest, and each request and attempt
    writes a line."""
    event["level"], event["timestamp"] = level, datetime.now(UTC)
    return msgspec.json.encode(event, enc_hook=repr)


class _BufferedLogWriter:
    """Collects lines of level info, and writes them together at the end of the event loop's turn,
    because to write a line costs as much as to make it. A warning or an error is written at once,
    with all lines before it. The end of the process writes the rest."""

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
