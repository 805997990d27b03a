"""What a recipe owes the trainer: data as batches, a model, a loss, an evaluation, and what the export needs.

Shapes: B rows of a batch, T tokens, F features, C classes, V entries of the vocabulary.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec
import torch
from shared_schemas.models import Task, TensorSpec
from shared_schemas.specs import Hyperparameters, TrainingSpec
from torch import Tensor, nn

from recipe_kit.tables import Table


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """How to train: the hyperparameters with the recipe's defaults filled in. max_steps None: epochs alone decide."""

    epochs: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    warmup_fraction: float
    max_steps: int | None


class Export(msgspec.Struct, frozen=True, kw_only=True):
    """examples: held-out rows as the graph's inputs, in order. dynamic: per input, the dimensions that vary.
    classes_axis: the axis of the first output along which the largest wins, None where there is none. offset, unit: an
    output is about offset plus or minus some units."""

    examples: tuple[Tensor, ...]
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    dynamic: tuple[Mapping[int, str], ...]
    classes_axis: int | None
    offset: float = 0.0
    unit: float = 1.0


class Learned(msgspec.Struct, frozen=True, kw_only=True):
    """What weights mean nothing without: a run that starts from those of another must use the same.

    tokenizer: JSON. labels and features: by index. model_type, task, target, text_column: what was trained on what,
    None in a checkpoint of an older version or where there is no such thing. hyperparameters: as they were asked for.
    """

    tokenizer: str | None
    labels: tuple[str, ...]
    features: tuple[str, ...]
    model_type: str | None = None
    task: Task | None = None
    target: str | None = None
    text_column: str | None = None
    hyperparameters: Hyperparameters = Hyperparameters()


# Of any other metric that a recipe has as its headline, the least value is the best.
HIGHER_IS_BETTER = frozenset({"accuracy", "auc", "balanced_accuracy", "f1", "precision", "r2", "recall"})


class Prepared(Protocol):
    """A data set and a model made for it. Everything random in it follows from the seed.

    target: the column that is predicted; text_column: the one whose texts are learned from. notes: what was decided
    about the data and by what, one sentence each. baseline: what the trivial predictor reaches on the held-out rows;
    headline: the metric it is compared by, and the best checkpoint is chosen by: the greatest of HIGHER_IS_BETTER, else
    the least.
    """

    @property
    def task(self) -> Task: ...
    @property
    def model(self) -> nn.Module: ...
    @property
    def plan(self) -> Plan: ...
    @property
    def n_rows(self) -> int: ...
    @property
    def tokens_per_row(self) -> int: ...
    @property
    def labels(self) -> tuple[str, ...]: ...
    @property
    def features(self) -> tuple[str, ...]: ...
    @property
    def feature_ranges(self) -> tuple[tuple[float, float], ...]:
        """The smallest and the largest value of each feature, in all rows; empty where features are no numbers."""
        ...

    @property
    def target(self) -> str | None: ...
    @property
    def text_column(self) -> str | None: ...
    @property
    def notes(self) -> Sequence[str]: ...
    @property
    def context_length(self) -> int | None: ...
    @property
    def tokenizer(self) -> bytes | None: ...
    @property
    def baseline(self) -> dict[str, float | None]: ...
    @property
    def headline(self) -> str: ...

    def describe(self) -> Sequence[str]:
        """Lines for the log: rows, classes, parameters."""
        ...

    def loss(self, rows: Tensor, device: torch.device) -> Tensor:
        """rows (B,) of training row numbers -> mean loss, a scalar."""
        ...

    def evaluate(self, device: torch.device) -> dict[str, float | None]:
        """Metrics on held-out rows. The model is in eval mode; draws no random numbers."""
        ...

    def export(self) -> Export: ...


class Recipe(Protocol):
    def prepare(
        self, spec: TrainingSpec, table: Table, validation: Table | None, *, seed: int, learned: Learned | None
    ) -> Prepared:
        """learned: of the checkpoint whose weights this run will start from. DataRejected if the data cannot be
        trained on, or does not fit what was learned."""
        ...


def learned_of(prepared: Prepared, spec: TrainingSpec) -> Learned:
    return Learned(
        tokenizer=None if prepared.tokenizer is None else prepared.tokenizer.decode(),
        labels=prepared.labels,
        features=prepared.features,
        model_type=spec.model_type,
        task=prepared.task,
        target=prepared.target,
        text_column=prepared.text_column or spec.text_column,
        hyperparameters=spec.hyperparameters,
    )


def plan_of(wanted: Hyperparameters, defaults: Plan) -> Plan:
    """What was asked for, and the recipe's defaults for the rest."""
    given = {field: value for field in Plan.__struct_fields__ if (value := getattr(wanted, field, None)) is not None}
    return msgspec.structs.replace(defaults, **given)


def unused_of(wanted: Hyperparameters, names: Sequence[str]) -> list[str]:
    """Lines for the log about those hyperparameters of `names` that were asked for and change nothing."""
    asked = [name for name in names if getattr(wanted, name) is not None]
    return [f"hyperparameters that this model type has not: {', '.join(asked)}"] if asked else []


def split_rows(n_rows: int, fraction: float, *, seed: int) -> tuple[list[int], list[int]]:
    """-> (training rows, held-out rows), at least one of each."""
    order: list[int] = torch.randperm(n_rows, generator=torch.Generator().manual_seed(seed)).tolist()
    held_out = min(n_rows - 1, max(1, round(n_rows * fraction)))
    return sorted(order[held_out:]), sorted(order[:held_out])


def n_parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())
