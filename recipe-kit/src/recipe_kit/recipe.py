"""What a recipe is: the training of one type of model. It owns its loop.

Knows no worker: whoever calls a recipe makes its context, and exports what it returns.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar, Generic, TypeVar

import msgspec
import torch
from shared_schemas.models import DataFacts, TensorSpec
from torch import Tensor, nn

from recipe_kit.checkpoint import Vocabulary
from recipe_kit.context import Context

H = TypeVar("H", bound=msgspec.Struct)


class Export(msgspec.Struct, frozen=True, kw_only=True):
    """The graph to export, and the rows on which it is compared with torch.

    examples: a tensor for each input of the graph, with at least one held-out row.
    inputs, outputs: names, dtypes and shapes of the graph.
    dynamic: for each input, the axes that vary in size and their names, as in
        {0: "batch", 1: "length"}. "length" may be as long as in the examples, any other axis up to
        65,536.
    classes_axis: the axis of the first output along which the largest value is the chosen class;
        None for an output that is no class.
    offset, unit: the first output is about `offset`, plus or minus a few times `unit`. The file may
        differ from torch by a thousandth of the largest distance from `offset`, or of `unit` if
        that is more.
    """

    examples: tuple[Tensor, ...]
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    dynamic: tuple[Mapping[int, str], ...]
    classes_axis: int | None
    offset: float = 0.0
    unit: float = 1.0


class Trained(msgspec.Struct, frozen=True, kw_only=True):
    """A trained model, and what its manifest says about it.

    model: is exported to ONNX as `export` says.
    vocabulary: its `task` must be set.
    steps: optimiser steps in all, those of earlier attempts included.
    metrics: on held-out rows, by name; None for a value that is not finite.
    baseline: what the trivial predictor reaches on the same rows.
    data: how the data were understood.
    feature_ranges: the smallest and the largest value of each feature in all rows; empty if the
        features are not numbers.
    context_length: how many tokens the model takes; None for a model of tables.
    batch_axis: of a model of the task tensors, the dimension along which inputs of several jobs may
        be joined, because no row's answer depends on other rows; None if there is none.
    """

    model: nn.Module
    export: Export
    vocabulary: Vocabulary
    steps: int
    metrics: dict[str, float | None]
    baseline: dict[str, float | None]
    data: DataFacts
    feature_ranges: tuple[tuple[float, float], ...] = ()
    context_length: int | None = None
    batch_axis: str | None = None

    def __post_init__(self) -> None:
        if self.vocabulary.task is None:
            raise ValueError("the vocabulary of a trained model says its task")


class Recipe(ABC, Generic[H]):
    """The training of one type of model. The first line of a recipe's own docstring is its summary
    in `GET /recipes`.

    name: the `model_type` of its jobs, and the name of its entry point in `headrace.recipes`.
    hyperparameters: a Struct with `forbid_unknown_fields`, in which each field has a default.
    shape: the names of the hyperparameters that decide the shapes of the weights. A job that starts
        from the weights of another job takes these values from it.
    """

    name: ClassVar[str]
    hyperparameters: ClassVar[type[msgspec.Struct]]
    shape: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def train(self, context: Context[H]) -> Trained:
        """Train a model. Everything random must follow from `context.seed`.

        Raise StoppedEarlyError once `context.should_stop()` is true and a checkpoint is saved.
        Raise DataRejected if the data cannot be trained on, SpecRejected if the job asks for
        something that the recipe does not have, and AttemptFailed for other known failures. Any
        other exception fails the attempt with recipe_failed.
        """


def unused_of(wanted: msgspec.Struct, names: Sequence[str]) -> list[str]:
    """A line for the log if the job sets hyperparameters that change nothing; else none. wanted:
    the hyperparameters. names: of those that the model type does not use."""
    asked = [name for name in names if getattr(wanted, name) is not None]
    return [f"hyperparameters that this model type does not use: {', '.join(asked)}"] if asked else []


def split_rows(n_rows: int, fraction: float, *, seed: int) -> tuple[list[int], list[int]]:
    """Split the rows at random. fraction: how much to hold out, from 0 to 1. -> (indices of the
    training rows, indices of the held-out rows), both sorted and not empty. n_rows must be at least
    2."""
    order: list[int] = torch.randperm(n_rows, generator=torch.Generator().manual_seed(seed)).tolist()
    held_out = min(n_rows - 1, max(1, round(n_rows * fraction)))
    return sorted(order[held_out:]), sorted(order[:held_out])


def n_parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())
