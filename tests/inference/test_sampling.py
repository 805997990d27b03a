"""How the next token is drawn, and that a seed decides it."""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from inference_worker.sampling import generator_for, next_token, seed_of
from shared_schemas.errors import AttemptFailed

LOGITS = np.array([0.0, 1.0, 2.0, 2.0, -1.0], dtype=np.float32)


def draw(logits: np.ndarray, n: int, *, temperature: float = 1.0, top_k: int | None = None, forbidden=()) -> list[int]:
    rng = generator_for(1, 0)
    return [next_token(logits, rng, temperature=temperature, top_k=top_k, forbidden=list(forbidden)) for _ in range(n)]


def test_temperature_0_takes_the_first_of_the_most_likely() -> None:
    assert set(draw(LOGITS, 20, temperature=0.0)) == {2}


def test_frequencies_follow_the_softmax() -> None:
    counts = np.bincount(draw(LOGITS, 20_000), minlength=5) / 20_000
    expected = np.exp(LOGITS) / np.exp(LOGITS).sum()

    assert counts == pytest.approx(expected, abs=0.015)


def test_a_higher_temperature_flattens() -> None:
    assert draw(LOGITS, 4000, temperature=10.0).count(4) > 3 * draw(LOGITS, 4000, temperature=1.0).count(4)


@pytest.mark.parametrize(("top_k", "allowed"), [(1, {2}), (2, {2, 3}), (3, {1, 2, 3}), (99, {0, 1, 2, 3, 4})])
def test_top_k_keeps_the_k_most_likely(top_k: int, allowed: set[int]) -> None:
    assert set(draw(LOGITS, 2000, top_k=top_k)) == allowed


def test_a_tiny_temperature_does_not_overflow() -> None:
    assert set(draw(LOGITS * 1e4, 50, temperature=1e-9)) <= {2, 3}


def test_forbidden_tokens_are_never_drawn() -> None:
    assert set(draw(LOGITS, 2000, forbidden=[2, 3, 77])) == {0, 1, 4}


@given(st.lists(st.floats(width=32, allow_nan=True, allow_infinity=True), min_size=1, max_size=8), st.integers(0, 99))
def test_a_token_without_a_finite_logit_is_never_drawn(logits: list[float], seed: int) -> None:
    array = np.array(logits, dtype=np.float32)
    if not np.isfinite(array).any():
        with pytest.raises(AttemptFailed, match="finite"):
            next_token(array, generator_for(seed, 0), temperature=1.0, top_k=None, forbidden=[])
        return

    token = next_token(array, generator_for(seed, 0), temperature=1.0, top_k=3, forbidden=[])

    assert np.isfinite(array[token])


def test_each_seed_and_each_input_of_a_job_has_random_numbers_of_its_own() -> None:
    numbers = [generator_for(seed, index).random() for seed, index in [(7, 0), (7, 0), (7, 1), (8, 0)]]

    assert numbers[0] == numbers[1]
    assert len(set(numbers)) == 3
    assert seed_of("inference-a") == seed_of("inference-a") != seed_of("inference-b")
