"""How long to wait before something that failed is tried again."""

from hypothesis import given
from hypothesis import strategies as st
from shared_schemas.backoff import Backoff


def test_a_delay_doubles_up_to_the_cap_and_starts_again_after_a_reset() -> None:
    backoff = Backoff(first_s=0.5, cap_s=3.0, jitter=0.0)

    assert [backoff.next_s() for _ in range(4)] == [0.5, 1.0, 2.0, 3.0]

    backoff.reset()

    assert backoff.next_s() == 0.5


def test_only_the_first_failure_after_a_reset_is_fresh() -> None:
    backoff = Backoff()

    assert backoff.is_fresh
    backoff.next_s()
    assert not backoff.is_fresh
    backoff.reset()
    assert backoff.is_fresh


@given(st.floats(0.01, 10.0), st.floats(0.01, 60.0), st.integers(0, 40))
def test_half_of_a_delay_is_random(first_s: float, cap_s: float, failures: int) -> None:
    backoff = Backoff(first_s=first_s, cap_s=cap_s)
    for _ in range(failures):
        backoff.next_s()

    ceiling_s = min(cap_s, first_s * 2.0 ** min(failures, 16))

    assert ceiling_s / 2 <= backoff.next_s() <= ceiling_s
