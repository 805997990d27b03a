"""Checks whether a task can use the inputs and outputs of a model's graph. Knows no engine."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Protocol

from shared_schemas.errors import AttemptFailed
from shared_schemas.models import TensorSpec

INTEGERS, FLOATS = frozenset({"int64"}), frozenset({"float32", "float64"})
TEXT_INPUTS = {"input_ids": INTEGERS, "attention_mask": INTEGERS}
# Models of the family of BERT may take it. A single text is all zeros.
TOKEN_TYPES = {"token_type_ids": INTEGERS}
PIXEL_INPUTS = {"pixel_values": frozenset({"uint8", "float16", "float32", "float64"})}
FEATURE_INPUTS = {"features": FLOATS}


class Graph(Protocol):
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


def check_graph(
    graph: Graph,
    task: str,
    *,
    inputs: Mapping[str, frozenset[str]],
    output: str,
    optional: Mapping[str, frozenset[str]] = MappingProxyType({}),
) -> None:
    """inputs, optional: the dtypes that each input may have. AttemptFailed model_unsupported if the graph has other
    inputs, or lacks the output."""
    given = {spec.name: spec.dtype for spec in graph.inputs}
    allowed = {**optional, **inputs}
    if not inputs.keys() <= given.keys() <= allowed.keys() or any(
        dtype not in allowed[name] for name, dtype in given.items()
    ):
        raise AttemptFailed("model_unsupported", f"a {task} model takes {', '.join(inputs)}")
    if output not in {spec.name for spec in graph.outputs}:
        raise AttemptFailed("model_unsupported", f"a {task} model has an output named {output}")
