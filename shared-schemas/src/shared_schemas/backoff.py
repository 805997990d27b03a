"""How long to wait before something that failed is tried again, such as a call of Redis or the
start of a process.

Knows neither. The delays between the failed attempts of a job are in `shared_schemas.retry`.
"""

import random

_MOST_DOUBLINGS = 16


class Backoff:
    """Delays that double from `first_s` up to `cap_s`, both in seconds. jitter: the share of each
    delay that is random, so that callers that failed together do not all try again together."""

    def __init__(self, *, first_s: float = 0.1, cap_s: float = 2.0, jitter: float = 0.5) -> None:
        self._first_s, self._cap_s, self._jitter, self._failures = first_s, cap_s, jitter, 0

    @property
    def is_fresh(self) -> bool:
        """Whether nothing has failed since the last reset. Log only the failure after that."""
        return self._failures == 0

    def next_s(self) -> float:
        """Count one more failure. -> how long to wait."""
        ceiling_s = min(self._cap_s, self._first_s * 2.0**self._failures)
        self._failures = min(self._failures + 1, _MOST_DOUBLINGS)
        return ceiling_s * (1.0 - self._jitter * random.random())  # noqa: S311 - spreads load, guards nothing

    def reset(self) -> None:
        """Call it after a success."""
        self._failures = 0
