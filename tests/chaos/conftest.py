"""Fixtures of the tests that break things."""

import os
import random
import secrets

import pytest

_SEED = "HEADRACE_TEST_SEED"


@pytest.fixture
def rng() -> random.Random:
    """Its seed differs in every run, and HEADRACE_TEST_SEED repeats one. A test that fails shows
    its seed."""
    seed = int(os.environ.get(_SEED) or secrets.randbits(32))
    print(f"{_SEED}={seed}")
    return random.Random(seed)
