"""Numbers, times and curves as short text. Pure, and knows no jobs."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import pairwise

_BARS = "▁▂▃▄▅▆▇█"
_ASCII_BARS = "_.-=+*#@"


def sparkline(values: Sequence[float], *, width: int, ascii_only: bool = False) -> str:
    """The values from left to right in at most `width` bars. Each bar is the mean of
    its share of the values."""
    if not values or width < 1:
        return ""
    cells = min(width, len(values))
    edges = [round(i * len(values) / cells) for i in range(cells + 1)]
    means = [sum(values[a:b]) / (b - a) for a, b in pairwise(edges)]
    low, high = min(means), max(means)
    bars = _ASCII_BARS if ascii_only else _BARS
    span = (high - low) or 1.0
    return "".join(bars[min(len(bars) - 1, int((mean - low) / span * len(bars)))] for mean in means)


def number(value: float | None) -> str:
    """Four significant digits; `n/a` for None, which stands for a number that is not finite."""
    if value is None:
        return "n/a"
    if value == int(value) and abs(value) < 1_000_000:
        return str(int(value))
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.4g}"


def metrics(values: Mapping[str, float | None], *, without: Sequence[str] = ()) -> str:
    return " · ".join(f"{name} {number(value)}" for name, value in values.items() if name not in without)


def duration(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 100:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 100:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min"


def ago(moment: datetime | None, *, now: datetime | None = None) -> str:
    if moment is None:
        return "-"
    seconds = ((now or datetime.now(UTC)) - moment).total_seconds()
    if abs(seconds) < 1:
        return "now"
    return f"{_rounded(seconds)} ago" if seconds > 0 else f"in {_rounded(-seconds)}"


def _rounded(seconds: float) -> str:
    """The time in the largest unit that is not longer than it."""
    for unit, unit_s in (("d", 86_400), ("h", 3600), ("m", 60)):
        if seconds >= unit_s:
            return f"{seconds // unit_s:.0f}{unit}"
    return f"{seconds:.0f}s"


def shortened(text: str, limit: int) -> str:
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 1] + "…"
