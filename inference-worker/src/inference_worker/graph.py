"""Checks whether a task can use the inputs and outputs of a model's graph. Knows no engine."""

from collections.abc import Mapping
from typing import Protocol

from shared_schemas.errors import AttemptFailed
from shared_schemas.models import TensorSpec

INTEGERS, FLOATS = frozenset({"int64"}), frozenset({"float32", "float64"})
TEXT_INPUTS = {"input_ids": INTEGERS, "attention_mask": INTEGERS}
FEATURE_INPUTS = {"features": FLOATS}


class Graph(Protocol):
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


def check_graph(graph: Graph, task: str, *, inputs: Mapping[str, frozenset[str]], output: str) -> None:
    """inputs: the dtypes that each input may have. AttemptFailed model_unsupported if the graph has other inputs, or
    lacks the output."""
    given = {spec.name: spec.dtype for spec in graph.inputs}
    if given.keys() != inputs.keys() or any(dtype not in inputs[name] for name, dtype in given.items()):
        raise AttemptFailed("model_unsupported", f"a {task} model takes {', '.join(inputs)}")
    if output not in {spec.name for spec in graph.outputs}:
        raise AttemptFailed("model_unsupported", f"a {task} model has an output named {output}")
