"""Picks the next token from its logits. Pure, except for the generator that is passed in.

Each input has its own generator, and each token draws one random number, whatever the parameters are. So the same seed
gives the same text, however the steps are batched.
"""

import hashlib

import numpy as np
from shared_schemas.errors import AttemptFailed

from inference_worker.tensors import Array, softmax


def generator_for(seed: int, index: int) -> np.random.Generator:
    """The random numbers of input `index` of a job."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, index])))


def seed_of(job_id: str) -> int:
    """The seed of a job that has none, so that every attempt of it writes the same text."""
    return int.from_bytes(hashlib.sha256(job_id.encode()).digest()[:6], "big")


def next_token(
    logits: Array, rng: np.random.Generator, *, temperature: float, top_k: int | None, forbidden: list[int]
) -> int:
    """logits: float [vocabulary]. temperature 0: the most likely token, the first one if several are equal.
    AttemptFailed model_output_invalid if no token has a finite logit."""
    draw = rng.random()
    scores = np.where(np.isfinite(logits), logits, -np.inf).astype(np.float64)
    scores[[token for token in forbidden if token < len(scores)]] = -np.inf
    if not np.isfinite(scores).any():
        raise AttemptFailed("model_output_invalid", "the model gave no token a finite score")
    if temperature == 0.0:
        return int(np.argmax(scores))
    if top_k is not None and top_k < len(scores):
        scores[_all_but_top(scores, top_k)] = -np.inf
    # Subtract the maximum first, so that a tiny temperature does not overflow.
    cumulative = np.cumsum(softmax((scores - scores.max()) / temperature))
    token = int(np.searchsorted(cumulative, draw * cumulative[-1], side="right"))
    return min(token, int(np.flatnonzero(np.isfinite(scores))[-1]))


def _all_but_top(scores: Array, top_k: int) -> Array:
    """Which are not among the top_k highest scores. Of equal scores, the lower indices are kept."""
    least = np.partition(scores, len(scores) - top_k)[len(scores) - top_k]
    is_kept = np.asarray(scores > least)
    is_kept[np.flatnonzero(scores == least)[: top_k - np.count_nonzero(is_kept)]] = True
    return np.asarray(~is_kept)
