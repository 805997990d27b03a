"""What tests that break things share."""

import os
import random
import secrets

import pytest

_SEED = "HEADRACE_TEST_SEED"


@pytest.fixture
def rng() -> random.Random:
    """Different in every run, unless HEADRACE_TEST_SEED repeats one; a test that fails shows its seed."""
    seed = int(os.environ.get(_SEED) or secrets.randbits(32))
    print(f"{_SEED}={seed}")
    return random.Random(seed)
