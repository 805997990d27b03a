"""Prints the log lines of the services for a person: time, service, event, and its other fields.
Knows no process.

Services write JSON lines (structlog). Any other line is printed as it is. If only warnings are
printed, the last of these lines are kept and printed if the service dies, because they may be its
traceback.
"""

import threading
from collections import defaultdict, deque
from datetime import datetime
from typing import Any

import msgspec
from rich.console import Console
from rich.text import Text

_SERVICE_STYLES = ("cyan", "magenta", "blue", "green", "yellow")
_LEVEL_STYLES = {"debug": "dim", "info": "", "warning": "yellow", "error": "bold red", "critical": "bold red"}
_LEVELS = tuple(_LEVEL_STYLES)
_NAME_WIDTH = 12
_KEPT_LINES = 40
# Lines about requests: too much unless somebody asked for them.
_FINE_EVENTS = frozenset({"request_served", "requests_served", "stream_closed", "streams_closed"})
# All services share one Redis, and each logs this about it.
_PRINTED_ONCE = frozenset({"redis_known_bug"})
# Printed elsewhere in the line, or the same on every line.
_LEFT_OUT = frozenset({"event", "level", "timestamp", "logger", "service", "queue", "pid", "exception"})


class Log:
    """Thread-safe. level: the lowest level that is printed. Lines that are
    not JSON count as info."""

    def __init__(self, console: Console, *, level: str = "info") -> None:
        self._console, self._level = console, _LEVELS.index(level)
        self._lock = threading.Lock()
        self._styles: dict[str, str] = {}
        self._printed = set[str]()
        self._unshown = defaultdict[str, deque[str]](lambda: deque(maxlen=_KEPT_LINES))

    def line(self, service: str, written: str) -> None:
        """One line that a service wrote."""
        try:
            fields = msgspec.json.decode(written, type=dict[str, Any])
        except msgspec.MsgspecError:
            if self._level > _LEVELS.index("info"):
                self._unshown[service].append(written)
            fields = {"event": written, "level": "info"}
        level = str(fields.get("level", "info")).lower()
        if fields.get("event") in _FINE_EVENTS and level == "info":
            level = "debug"
        if level in _LEVELS and _LEVELS.index(level) < self._level:
            return
        facts = " ".join(f"{name}={value}" for name, value in fields.items() if name not in _LEFT_OUT)
        if fields.get("event") in _PRINTED_ONCE:
            with self._lock:
                if facts in self._printed:
                    return
                self._printed.add(facts)
        self._print(service, str(fields.get("event", "")), facts, style=_LEVEL_STYLES.get(level, ""))
        if "exception" in fields:
            self._print(service, str(fields["exception"]), "", style="red")

    def note(self, service: str, text: str, *, style: str = "bold") -> None:
        """Print what a supervisor says about a service, at any level."""
        self._print(service, text, "", style=style)

    def death(self, service: str, text: str) -> None:
        """Print that a service ended by itself, after the last lines that it wrote."""
        for written in self._unshown.pop(service, ()):
            self._print(service, written, "", style="")
        self.note(service, text, style="bold red")

    def _print(self, service: str, text: str, facts: str, *, style: str) -> None:
        with self._lock:
            colour = self._styles.setdefault(service, _SERVICE_STYLES[len(self._styles) % len(_SERVICE_STYLES)])
            now = datetime.now().strftime("%H:%M:%S")
            self._console.print(
                Text.assemble(
                    (f"{now} ", "dim"),
                    (f"{service:<{_NAME_WIDTH}} ", colour),
                    (text, style),
                    (f"  {facts}" if facts else "", "dim"),
                ),
                soft_wrap=True,
            )
