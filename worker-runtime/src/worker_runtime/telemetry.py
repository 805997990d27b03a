"""Structured logs: JSON on a pipe, readable on a terminal. Knows no job; callers bind their ids."""

import logging
import sys

import msgspec
import structlog
from shared_schemas.process import LogLines


def configure_logs(log_format: str) -> None:
    """log_format: json, console, or auto, which is console on a terminal. Logs go to stderr."""
    lines = LogLines(sys.stderr.buffer)
    readable = log_format == "console" or (log_format == "auto" and sys.stderr.isatty())
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty()) if readable else _render,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr) if readable else lambda *_: lines,
        cache_logger_on_first_use=True,
    )


def _render(_: object, __: str, event: structlog.typing.EventDict) -> bytes:
    """A line for each attempt: the encoder of the standard library would cost more than the rest of the line."""
    return msgspec.json.encode(event, enc_hook=repr)
