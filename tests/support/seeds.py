"""Seeds of random tests: drawn and printed, or taken from HEADRACE_TEST_SEED to repeat a run."""

import os
import random


def draw_seed() -> int:
    seed = int(os.environ.get("HEADRACE_TEST_SEED") or random.SystemRandom().randrange(2**32))
    print(f"HEADRACE_TEST_SEED={seed}")
    return seed
