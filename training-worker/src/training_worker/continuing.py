"""What a job takes over from the job in `resume_from`, whose weights it starts from. Pure.

The source decides the task, the columns and the shapes of the weights. A spec that contradicts one
of them is rejected.
"""

from collections.abc import Sequence
from typing import Any

import msgspec
from recipe_kit.checkpoint import Vocabulary
from shared_schemas.errors import SpecRejected
from shared_schemas.models import Task
from shared_schemas.specs import TrainingSpec

# The task of a model, as a spec names it.
_TASK_OF_SPEC: dict[Task, str] = {
    "text-classification": "classification",
    "tabular-classification": "classification",
    "tabular-regression": "regression",
    "text-generation": "language-modeling",
}


def spec_from_source(spec: TrainingSpec, source: Vocabulary, shape: Sequence[str]) -> TrainingSpec:
    """The spec, completed with what the weights of the source decide: task, columns and shape. If a
    column has another name in the new data, the spec gives that name.

    source: the vocabulary in the checkpoint that the job starts from. shape: names of the
    hyperparameters that decide the shapes of the weights. SpecRejected names the field that
    contradicts the source.
    """
    if source.model_type is not None and spec.model_type != source.model_type:
        raise _contradiction("model_type", source.model_type)
    task = None if source.task is None else _TASK_OF_SPEC.get(source.task)
    if task is not None and spec.task not in (None, task):
        raise _contradiction("task", task)
    if source.features and spec.feature_columns and _names(spec.feature_columns) != _names(source.features):
        raise _contradiction("feature_columns", f"{len(source.features)} others")
    return msgspec.structs.replace(
        spec,
        task=task or spec.task,
        label_column=spec.label_column or source.target,
        text_column=spec.text_column or source.text_column,
        feature_columns=source.features or spec.feature_columns,
        hyperparameters=spec.hyperparameters | _shape(spec, source, shape),
    )


def _names(columns: Sequence[str]) -> set[str]:
    """Names as columns are matched: without regard to case and to the spaces around them."""
    return {name.strip().casefold() for name in columns}


def _shape(spec: TrainingSpec, source: Vocabulary, names: Sequence[str]) -> dict[str, Any]:
    """The hyperparameters among `names` that the source has and the spec leaves out."""
    shape = {}
    for name in names:
        asked, known = spec.hyperparameters.get(name), source.hyperparameters.get(name)
        if asked is not None and known is not None and asked != known:
            raise _contradiction(f"hyperparameters/{name}", str(known))
        if asked is None and known is not None:
            shape[name] = known
    return shape


def _contradiction(field: str, known: str) -> SpecRejected:
    message = f"{field} contradicts the job in resume_from, which has {known}; leave it out to use that"
    return SpecRejected(message, pointer=f"/{field}")
