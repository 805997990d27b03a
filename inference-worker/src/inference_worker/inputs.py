"""What `input_data` means for a task: one input or many, and for tabular models the row of numbers.

Messages name features but never repeat a value: they are shown in the API.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
from shared_schemas.errors import DataRejected, InvalidInput
from shared_schemas.models import Task

from inference_worker.tensors import Array

_CODE = "invalid_input"
_NAMED_AT_MOST = 64
_LARGEST = float(np.finfo(np.float32).max)


class Inputs(msgspec.Struct, frozen=True):
    """items: not checked yet, each is an input of its own. is_list: the result is a list, too."""

    items: tuple[Any, ...]
    is_list: bool


def inputs_of(task: Task, input_data: Any) -> Inputs:
    """A text is one input, a list of texts many. An object of features or a flat list of numbers is one input, a
    list of such many. InvalidInput for anything else and for an empty list."""
    if not isinstance(input_data, list):
        return Inputs((input_data,), is_list=False)
    if not input_data:
        raise InvalidInput("input_data is an empty list")
    is_one_row = task.startswith("tabular") and not any(isinstance(item, dict | list) for item in input_data)
    return Inputs((input_data,), is_list=False) if is_one_row else Inputs(tuple(input_data), is_list=True)


def text_of(item: Any) -> str:
    if not isinstance(item, str):
        raise InvalidInput("this model takes a text")
    return item


def features_of(item: Any, features: Sequence[str]) -> Array:
    """float32 [len(features)] in the model's order. DataRejected, with the feature as its column, for one that is
    missing, unknown or not a finite number."""
    if isinstance(item, Mapping):
        return _from_object(item, features)
    if isinstance(item, list):
        if len(item) != len(features):
            raise InvalidInput(f"this model takes {len(features)} numbers, {len(item)} were given")
        values = [_number(value, name) for value, name in zip(item, features, strict=True)]
        return np.array(values, dtype=np.float32)
    raise InvalidInput("this model takes an object of features or a list of numbers")


def _from_object(item: Mapping[str, Any], features: Sequence[str]) -> Array:
    for name in features:
        if name not in item:
            raise DataRejected(_CODE, f"the feature {name!r} is missing", column=name)
    if len(item) > len(features):
        unknown = next(str(name)[:_NAMED_AT_MOST] for name in item if name not in features)
        raise DataRejected(_CODE, f"the model has no feature {unknown!r}", column=unknown)
    return np.array([_number(item[name], name) for name in features], dtype=np.float32)


def _number(value: Any, feature: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise DataRejected(_CODE, f"the feature {feature!r} is not a number", column=feature)
    if not abs(value) <= _LARGEST:
        raise DataRejected(_CODE, f"the feature {feature!r} does not fit into 32 bits", column=feature)
    return float(value)
