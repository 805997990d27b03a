"""Scores to a label: what the tasks that classify have in common. Pure."""

import msgspec
import numpy as np
from shared_schemas.errors import AttemptFailed

from inference_worker.results import TRUNCATED, AnswerWarning
from inference_worker.tensors import Array, Arrays, softmax


class Classification(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """score: of the label. scores: by label, highest first. All are null where the model's output is not finite.
    truncated_tokens: how many tokens at the end of the text were not read."""

    label: str | None
    score: float | None
    scores: dict[str, float | None]
    nonfinite_count: int = 0
    truncated_tokens: int = 0
    warnings: tuple[AnswerWarning, ...] = ()


def check_logits(outputs: Arrays, labels: tuple[str, ...]) -> None:
    """AttemptFailed model_unsupported unless there is one logit for each label."""
    if outputs["logits"].shape != (len(labels),):
        raise AttemptFailed("model_unsupported", "the model's output does not fit its labels")


def classification_of(
    logits: Array,
    labels: tuple[str, ...],
    *,
    top_k: int | None = None,
    truncated_tokens: int = 0,
    warnings: tuple[AnswerWarning, ...] = (),
) -> Classification:
    """logits: float [len(labels)]. top_k: how many scores to keep."""
    if truncated_tokens:
        warnings = (*warnings, *TRUNCATED)
    n_bad = int(np.count_nonzero(~np.isfinite(logits)))
    probabilities = softmax(logits)
    if not np.isfinite(probabilities).all():
        return Classification(
            label=None,
            score=None,
            scores=dict.fromkeys(labels[:top_k]),
            nonfinite_count=n_bad,
            truncated_tokens=truncated_tokens,
            warnings=warnings,
        )
    order = np.argsort(-probabilities, kind="stable")
    scores: dict[str, float | None] = {labels[i]: float(probabilities[i]) for i in order[:top_k]}
    best = int(order[0])
    return Classification(
        label=labels[best],
        score=float(probabilities[best]),
        scores=scores,
        nonfinite_count=n_bad,
        truncated_tokens=truncated_tokens,
        warnings=warnings,
    )


def rounded(answer: Classification) -> Classification:
    """The answer with each score rounded to 3 decimals. The last bits of a score depend on the
    other rows of its batch, because ONNX Runtime has another kernel for a single row."""
    scores = {label: _rounded(score) for label, score in sorted(answer.scores.items())}
    return msgspec.structs.replace(answer, score=_rounded(answer.score), scores=scores)


def _rounded(score: float | None) -> float | None:
    return None if score is None else round(score, 3)
