"""Scores to a label: what the tasks that classify have in common. Pure."""

from collections.abc import Mapping
from types import MappingProxyType

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
    if not labels or outputs["logits"].shape != (len(labels),):
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
    [answer] = classifications_of(logits[np.newaxis], labels, top_k=top_k)
    if truncated_tokens:
        warnings = (*warnings, *TRUNCATED)
    if not warnings:
        return answer
    return msgspec.structs.replace(answer, truncated_tokens=truncated_tokens, warnings=warnings)


def classifications_of(
    logits: Array,
    labels: tuple[str, ...],
    *,
    top_k: int | None = None,
    warnings: Mapping[int, tuple[AnswerWarning, ...]] = MappingProxyType({}),
) -> list[Classification]:
    """logits: float [n, len(labels)]. warnings: by row."""
    probabilities = softmax(logits)
    is_finite: list[bool] = np.all(np.isfinite(probabilities), axis=1).tolist()
    n_bad = np.count_nonzero(~np.isfinite(logits), axis=1).tolist()
    order = np.argsort(-probabilities, axis=1, kind="stable")[:, :top_k]
    ordered = np.take_along_axis(probabilities, order, axis=1).tolist()
    found = list[Classification]()
    for row, (places, values) in enumerate(zip(order.tolist(), ordered, strict=True)):
        if is_finite[row]:
            scores = {labels[place]: value for place, value in zip(places, values, strict=True)}
            label, score = labels[places[0]], values[0]
        else:
            scores, label, score = dict.fromkeys(labels[:top_k]), None, None
        found.append(
            Classification(
                label=label,
                score=score,
                scores=scores,
                nonfinite_count=n_bad[row],
                warnings=warnings.get(row, ()),
            )
        )
    return found


def room_of_scores(labels: tuple[str, ...], top_k: int | None) -> int:
    """At least how many bytes the scores of one answer take as JSON: a score of 0.0 for each label, and punctuation."""
    return sum(sorted(len(label) + 7 for label in labels)[:top_k])


def rounded(answer: Classification) -> Classification:
    """The answer with each score rounded to 3 decimals. The last bits of a score depend on the
    other rows of its batch, because ONNX Runtime has another kernel for a single row."""
    scores = {label: _rounded(score) for label, score in sorted(answer.scores.items())}
    return msgspec.structs.replace(answer, score=_rounded(answer.score), scores=scores)


def _rounded(score: float | None) -> float | None:
    return None if score is None else round(score, 3)
