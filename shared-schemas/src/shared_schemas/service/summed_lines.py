"""Log lines that may come by the thousand each second: the first of a second are written, and the
others become one line that counts them. Knows no logger.
"""

import asyncio
from collections.abc import Callable
from statistics import median

# So many durations give the median of a second.
_MOST_KEPT = 1000


class SummedLines:
    """write_sum: called with how many lines of a second were not written, and the median of what
    they took, in seconds. A second begins with its first line.

    Use it in one event loop, and call `sum_up` at its end."""

    def __init__(self, per_s: int, write_sum: Callable[[int, float], None]) -> None:
        self._per_s, self._write_sum = per_s, write_sum
        self._n_lines, self._took_s = 0, list[float]()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._second: asyncio.TimerHandle | None = None

    def may_write(self, took_s: float) -> bool:
        """Whether to write this line. took_s: the duration that the line tells of."""
        if self._second is None:
            self._loop = self._loop or asyncio.get_running_loop()
            self._second = self._loop.call_later(1.0, self.sum_up)
        self._n_lines += 1
        if self._n_lines <= self._per_s:
            return True
        if len(self._took_s) < _MOST_KEPT:
            self._took_s.append(took_s)
        return False

    def sum_up(self) -> None:
        if self._second is not None:
            self._second.cancel()
        n_summed, took_s = self._n_lines - self._per_s, self._took_s
        self._n_lines, self._took_s, self._second = 0, [], None
        if n_summed > 0:
            self._write_sum(n_summed, median(took_s))
