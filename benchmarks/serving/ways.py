"""The ways of asking for answers. Knows no contestant."""

from typing import Literal

import msgspec

LOAD = 0.8
Form = Literal["wait", "stream", "jobs", "rows"]


class Way(msgspec.Struct, frozen=True):
    """form: of a request.

    wait: one row, and the response is its answer
    stream: one row, and the response is an event stream that ends with its answer
    jobs: a list of jobs of one row each, and the response is their events until all have ended
    rows: one job with several rows, and the response is their answers

    connections: how many ask at the same time, each the next request after the answer to the last.
    rows: in one request. per_s: if not 0, requests come at random times, so many per second on
    average, and wait for a connection if none is free.
    """

    form: Form
    connections: int
    rows: int = 1
    per_s: float = 0.0

    @property
    def key(self) -> str:
        """Of the names of its figures."""
        return f"{self.form}_{self.connections}{'_at_rate' if self.per_s else ''}"

    @property
    def title(self) -> str:
        if self.per_s:
            return f"Prefer: wait, at random times, {LOAD:.0%} of the best peer's answers/s"
        by = f"{self.connections} connection{'s' if self.connections > 1 else ''}"
        return {
            "wait": f"Prefer: wait, {by}",
            "stream": f"SSE on the POST, {by}",
            "jobs": f"lists of {self.rows} jobs, followed on the POST, {by}",
            "rows": f"one job with {self.rows} rows, Prefer: wait, {by}",
        }[self.form]


WAITS = tuple(Way("wait", connections) for connections in (1, 8, 64, 256))
STREAM, JOBS, ROWS = Way("stream", 64), Way("jobs", 4, 100), Way("rows", 1, 512)
ALL = (*WAITS, STREAM, JOBS, ROWS)
AT_RATE = Way("wait", 256, per_s=1.0)
