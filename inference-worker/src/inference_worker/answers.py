"""What a job returns for each input, made from the model's output. Pure.

JSON has no NaN: what is not finite becomes null, and nonfinite_count says how many numbers of the model's output
were not.
"""

import msgspec
import numpy as np
from shared_schemas.errors import ErrorInfo, HeadraceError

from inference_worker.inputs import TRUNCATED, Warned
from inference_worker.tasks.text_generation import Generated
from inference_worker.tensors import Array, softmax


class Classified(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """score: of the label; scores: by label, highest first. Null where the model's output has no such value.
    truncated_tokens: of the text, at its end, which were not read."""

    label: str | None
    score: float | None
    scores: dict[str, float | None]
    nonfinite_count: int = 0
    truncated_tokens: int = 0
    warnings: tuple[Warned, ...] = ()


class Predicted(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    prediction: float | None
    nonfinite_count: int = 0
    warnings: tuple[Warned, ...] = ()


class ItemError(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """As ErrorInfo, of one input."""

    code: str
    message: str
    column: str | None = None


class Refused(msgspec.Struct, frozen=True):
    """In the place of an input that could not be used."""

    error: ItemError


Answer = Classified | Predicted | Generated | Refused


def classified(
    logits: Array,
    labels: tuple[str, ...],
    *,
    top_k: int | None = None,
    truncated_tokens: int = 0,
    warnings: tuple[Warned, ...] = (),
) -> Classified:
    """logits: float [len(labels)]. top_k: how many scores to keep."""
    if truncated_tokens:
        warnings = (*warnings, *TRUNCATED)
    n_bad = int(np.count_nonzero(~np.isfinite(logits)))
    probabilities = softmax(logits)
    if not np.isfinite(probabilities).all():
        return Classified(
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
    return Classified(
        label=labels[best],
        score=float(probabilities[best]),
        scores=scores,
        nonfinite_count=n_bad,
        truncated_tokens=truncated_tokens,
        warnings=warnings,
    )


def predicted(prediction: Array, *, warnings: tuple[Warned, ...] = ()) -> Predicted:
    """prediction: float [] or [1]."""
    value = float(prediction.reshape(()))
    if np.isfinite(value):
        return Predicted(prediction=value, warnings=warnings)
    return Predicted(prediction=None, nonfinite_count=1, warnings=warnings)


def refused(error: HeadraceError) -> Refused:
    info: ErrorInfo = error.info()
    return Refused(ItemError(code=info.code, message=info.message, column=info.column))


def reproducible(answer: Answer) -> Answer:
    """The part of an answer that a replay must give again. The last bits of a number depend on the company that
    its row had in a batch (ONNX Runtime has another kernel for a single row), so scores are rounded to 3 decimals
    and predictions to 4 digits. A text has no such freedom: its digest is over every character."""
    match answer:
        case Classified():
            scores = {label: _rounded(score) for label, score in sorted(answer.scores.items())}
            return msgspec.structs.replace(answer, score=_rounded(answer.score), scores=scores)
        case Predicted(prediction=float(value)):
            return msgspec.structs.replace(answer, prediction=float(f"{value:.4g}"))
        case _:
            return answer


def _rounded(score: float | None) -> float | None:
    return None if score is None else round(score, 3)
