"""What a run that starts from the weights of another takes from it, and what of its spec contradicts that. Pure."""

from collections.abc import Sequence
from typing import Any

import msgspec
from recipe_kit.checkpoint import Vocabulary
from shared_schemas.errors import SpecRejected
from shared_schemas.models import Task
from shared_schemas.specs import TrainingSpec

_ASKED_AS: dict[Task, str] = {
    "text-classification": "classification",
    "tabular-classification": "classification",
    "tabular-regression": "regression",
    "text-generation": "language-modeling",
}


def continued(spec: TrainingSpec, learned: Vocabulary, shape: Sequence[str]) -> TrainingSpec:
    """The specification with all that the weights of its source decide: task, columns, shape. A column may have another
    name in the new data, which the specification then says. shape: the hyperparameters that decide the shapes of the
    weights.

    SpecRejected names the field that contradicts the source.
    """
    if learned.model_type is not None and spec.model_type != learned.model_type:
        raise _contradiction("model_type", learned.model_type)
    task = None if learned.task is None else _ASKED_AS.get(learned.task)
    if task is not None and spec.task not in (None, task):
        raise _contradiction("task", task)
    if learned.features and spec.feature_columns and _names(spec.feature_columns) != _names(learned.features):
        raise _contradiction("feature_columns", f"{len(learned.features)} others")
    return msgspec.structs.replace(
        spec,
        task=task or spec.task,
        label_column=spec.label_column or learned.target,
        text_column=spec.text_column or learned.text_column,
        feature_columns=learned.features or spec.feature_columns,
        hyperparameters=spec.hyperparameters | _shape(spec, learned, shape),
    )


def _names(columns: Sequence[str]) -> set[str]:
    """As columns are found: in any case, without the spaces around them."""
    return {name.strip().casefold() for name in columns}


def _shape(spec: TrainingSpec, learned: Vocabulary, names: Sequence[str]) -> dict[str, Any]:
    shape = {}
    for name in names:
        asked, known = spec.hyperparameters.get(name), learned.hyperparameters.get(name)
        if asked is not None and known is not None and asked != known:
            raise _contradiction(f"hyperparameters/{name}", str(known))
        if asked is None and known is not None:
            shape[name] = known
    return shape


def _contradiction(field: str, known: str) -> SpecRejected:
    message = f"{field} contradicts the job in resume_from, which has {known}; leave it out to go on as that one"
    return SpecRejected(message, pointer=f"/{field}")
