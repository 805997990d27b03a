"""Structured logs: JSON on a pipe, readable on a terminal. Never a body, a header or a query."""

import logging
import sys

import structlog
from shared_schemas.process import LogLines, log_line


class _Passed(logging.Handler):
    """What the server and the libraries log, as one structured line like all others."""

    def emit(self, record: logging.LogRecord) -> None:
        structlog.get_logger().log(
            record.levelno, "library_logged", logger=record.name, message=record.getMessage(), exc_info=record.exc_info
        )


def configure_logs(log_format: str) -> None:
    """log_format: json, console, or auto, which is console on a terminal. Logs go to stderr."""
    lines = LogLines(sys.stderr.buffer)
    readable = log_format == "console" or (log_format == "auto" and sys.stderr.isatty())
    exceptions, stamps = structlog.processors.format_exc_info, structlog.processors.TimeStamper(fmt="iso", utc=True)
    console = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    structlog.configure(
        processors=[structlog.processors.add_log_level, stamps, exceptions, console]
        if readable
        else [exceptions, log_line],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr) if readable else lambda *_: lines,
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(level=logging.WARNING, handlers=[_Passed()], force=True)
