"""How long to wait before Redis is asked again."""

import random


class Backoff:
    """Full jitter between a tenth of a second and `cap_s`, doubling; reset once something has worked."""

    def __init__(self, *, cap_s: float = 2.0) -> None:
        self._cap_s, self._failures = cap_s, 0

    @property
    def is_fresh(self) -> bool:
        """Nothing has failed since the last reset: the next failure is the one to log."""
        return self._failures == 0

    def next_s(self) -> float:
        ceiling = min(self._cap_s, 0.1 * 2.0**self._failures)
        self._failures = min(self._failures + 1, 16)
        return random.uniform(ceiling / 2, ceiling)  # noqa: S311 - spreads load, guards nothing

    def reset(self) -> None:
        self._failures = 0
