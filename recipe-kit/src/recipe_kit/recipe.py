"""What a recipe is: the training of one type of model. It owns its loop, from the first row to the last step.

Shapes: B rows of a batch, T tokens, F features, C classes, V entries of the vocabulary.
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
    """The graph to export, and what it is checked with.

    examples: held-out rows as the graph's inputs, in order. dynamic: per input, the dimensions that vary.
    classes_axis: the axis of the first output along which the largest wins, None where there is none. offset, unit: an
    output is about offset plus or minus some units."""

    examples: tuple[Tensor, ...]
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    dynamic: tuple[Mapping[int, str], ...]
    classes_axis: int | None
    offset: float = 0.0
    unit: float = 1.0


class Trained(msgspec.Struct, frozen=True, kw_only=True):
    """A trained model, and what its manifest says of it.

    model: exported to ONNX as `export` says. steps: optimiser steps in all, those of earlier attempts included.
    metrics: on held-out rows. baseline: what the trivial predictor reaches there. data: how the data were understood.
    feature_ranges: the smallest and the largest value of each feature, in all rows; empty where features are no
    numbers. context_length: tokens that the model takes, None for a model of tables.
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

    def __post_init__(self) -> None:
        if self.vocabulary.task is None:
            raise ValueError("the vocabulary of a trained model says its task")


class Recipe(ABC, Generic[H]):
    """The training of one type of model.

    name: the `model_type` of its jobs, and the name of its entry point in the group `headrace.recipes`.
    hyperparameters: a Struct with `forbid_unknown_fields`, in which each field has a default. shape: those of them that
    decide the shapes of the weights; a job that starts from the weights of another takes them from that one.
    """

    name: ClassVar[str]
    hyperparameters: ClassVar[type[msgspec.Struct]]
    shape: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def train(self, context: Context[H]) -> Trained:
        """Train a model. Everything random follows from `context.seed`.

        StoppedEarlyError once `context.should_stop()` and a checkpoint is saved. DataRejected if the data cannot be
        trained on, SpecRejected if the job asks for what the recipe has not, AttemptFailed otherwise."""


def unused_of(wanted: msgspec.Struct, names: Sequence[str]) -> list[str]:
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
