"""The ways of asking for answers. Knows no contestant."""

from typing import Literal

import msgspec

Form = Literal["wait", "stream", "jobs", "rows"]


class Way(msgspec.Struct, frozen=True):
    """form: of a request.

    wait: one row, and the response is its answer
    stream: one row, and the response is an event stream that ends with its answer
    jobs: a list of jobs of one row each, and the response is their events until all have ended
    rows: one job with several rows, and the response is their answers

    connections: how many ask at the same time, each the next request after the answer to the last.
    rows: in one request.
    """

    form: Form
    connections: int
    rows: int = 1

    @property
    def key(self) -> str:
        """Of the names of its figures."""
        return f"{self.form}_{self.connections}"

    @property
    def title(self) -> str:
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
