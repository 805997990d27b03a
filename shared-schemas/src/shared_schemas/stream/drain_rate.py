"""How fast a queue drains, and what follows from it: when a job will start, when there will be room again.

The log of a queue keeps its pace, which lua/pace_prelude.lua measures. Here are the figures that follow. Pure.
"""

import math
from typing import Self

import msgspec

# What a client is told to wait, in seconds: at least, at most, if no attempt has ended yet, and if no worker runs.
_SHORTEST_S, _LONGEST_S, _UNKNOWN_S, _IDLE_S = 1, 3600, 10, 60


class DrainRate(msgspec.Struct, frozen=True):
    """per_s: attempts that end in a second while no slot of the queue's workers is free. Each lets the next job
    start."""

    per_s: float

    @classmethod
    def measured(cls, ended: int, took_ms: int) -> Self | None:
        """ended: attempts, in took_ms. None if nothing has been measured."""
        return cls(ended * 1000 / max(took_ms, 1)) if ended > 0 else None

    def starts_in_s(self, position: int, *, since_s: float | None) -> float:
        """When a job with `position` jobs before it starts, in seconds from now. since_s: for how long no attempt has
        ended although all slots are taken; None if one is free."""
        served_s = position / self.per_s
        return served_s if since_s is None else max(served_s, (position + 1) / self.per_s - since_s)


def retry_after_s(rate: DrainRate | None, *, workers: int) -> int:
    """When a full queue has room for one more job, in whole seconds. workers: of the queue. Without
    one, nobody knows: how fast it drained before says nothing."""
    if not workers:
        return _IDLE_S
    if rate is None:
        return _UNKNOWN_S
    return min(_LONGEST_S, max(_SHORTEST_S, math.ceil(1 / rate.per_s)))
