"""Lines of a log, written together. Knows neither what they say nor who makes them."""

import asyncio
import threading
from typing import BinaryIO


class LogLines:
    """What happened is written at the end of the event loop's turn, all of it at once: to write a line costs as much as
    to make it. What went wrong, and all that came before it, is written immediately."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._lines, self._lock = file, list[bytes](), threading.Lock()

    def info(self, line: bytes) -> None:
        with self._lock:
            self._lines.append(line + b"\n")
            is_first = len(self._lines) == 1
        if is_first:
            try:
                asyncio.get_running_loop().call_soon(self.flush)
            except RuntimeError:
                self.flush()

    def error(self, line: bytes) -> None:
        with self._lock:
            self._lines.append(line + b"\n")
        self.flush()

    debug, warning, critical = info, error, error

    def flush(self) -> None:
        with self._lock:
            lines, self._lines = self._lines, []
            self._file.write(b"".join(lines))
            self._file.flush()
