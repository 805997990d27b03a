"""When a failed attempt is tried again: how often, and after how long.

Full jitter: the delay is a random share of a ceiling that grows exponentially. That spreads many
retries best (Brooker, "Exponential Backoff and Jitter", AWS Architecture Blog, 2015).
"""

import random
from typing import Annotated

import msgspec

Seconds = Annotated[float, msgspec.Meta(ge=0.0, le=86_400.0)]


class RetryPolicy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """max_attempts: after so many failed attempts the job fails; crashes of a worker and drains do
    not count. backoff_s: ceiling of the first delay; it doubles up to max_backoff_s."""

    max_attempts: Annotated[int, msgspec.Meta(ge=1, le=20)] = 3
    backoff_s: Seconds = 2.0
    max_backoff_s: Seconds = 300.0

    def allows_another(self, failures: int) -> bool:
        """failures: attempts that have failed so far, the latest included."""
        return failures < self.max_attempts

    def delay_s(self, failures: int, rng: random.Random) -> float:
        ceiling = min(self.max_backoff_s, self.backoff_s * 2.0 ** min(failures - 1, 32))
        return rng.uniform(0.0, ceiling)
