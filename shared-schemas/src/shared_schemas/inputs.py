"""What `input_data` may be for a model, by what its manifest says. Pure: a gateway asks before it accepts a job, a
worker before it runs one.

Messages name features but never repeat a value: they are shown in the API.
"""

import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from shared_schemas.errors import DataRejected, InvalidInput
from shared_schemas.models import ModelManifest, Task

_CODE = "invalid_input"
_NUMBERS = frozenset({int, float})
# Names that may be shown although somebody sent them.
_SHOWABLE = re.compile(r"[\w.\- ]{1,64}\Z")
_LARGEST = {"float32": 3.4028234663852886e38, "float64": sys.float_info.max}


class Inputs(msgspec.Struct, frozen=True):
    """items: not checked yet, each is an input of its own. is_list: the result is a list, too."""

    items: tuple[Any, ...]
    is_list: bool


class Signature(msgspec.Struct, frozen=True, kw_only=True):
    """Of a manifest what an input must fit. largest: a number of the input may be so far from zero."""

    task: Task
    features: tuple[str, ...]
    largest: float


def signature_of(manifest: ModelManifest) -> Signature:
    dtype = next((spec.dtype for spec in manifest.inputs if spec.name == "features"), "float32")
    return Signature(task=manifest.task, features=manifest.features, largest=_LARGEST.get(dtype, _LARGEST["float32"]))


def check_input(signature: Signature, input_data: Any) -> None:
    """InvalidInput, with a JSON pointer into the body, if a job with this input can have no answer: the one input, or
    each of a list, is refused. A list of which some can be used is no fault: the others are refused in its answer.
    Nothing is refused for a tabular model whose features have no names."""
    if signature.task.startswith("tabular") and not signature.features:
        return
    # Nearly all inputs are right, and a submission should not pay for the question in which way.
    if _fits(signature, input_data):
        return
    try:
        inputs = inputs_of(signature.task, input_data)
    except InvalidInput as error:
        raise InvalidInput(str(error), pointer="/input_data") from None
    first: InvalidInput | None = None
    for place, item in enumerate(inputs.items):
        try:
            _check_item(signature, item)
            return
        except InvalidInput as error:
            at = f"/input_data/{place}" if inputs.is_list else "/input_data"
            first = first or InvalidInput(str(error), pointer=at + _pointer_in(item, error, signature.features))
    if first is not None:
        raise first


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


def numbers_of(item: Any, features: Sequence[str], *, largest: float = _LARGEST["float32"]) -> list[float]:
    """In the model's order. DataRejected, with the feature as its column, for one that is missing, unknown or not a
    finite number; InvalidInput for what is no row at all."""
    if isinstance(item, Mapping):
        return _from_object(item, features, largest)
    if isinstance(item, list):
        if len(item) != len(features):
            raise InvalidInput(f"this model takes {len(features)} numbers, {len(item)} were given")
        return [_number(value, name, largest) for value, name in zip(item, features, strict=True)]
    raise InvalidInput("this model takes an object of features or a list of numbers")


def _fits(signature: Signature, item: Any) -> bool:
    """True only where _check_item finds nothing; of numbers as JSON has them, finite ones."""
    if not signature.task.startswith("tabular"):
        return isinstance(item, str)
    if type(item) is dict:
        if len(item) != len(signature.features):
            return False
        item = list(map(item.get, signature.features))
    return (
        type(item) is list
        and len(item) == len(signature.features)
        and _NUMBERS.issuperset(map(type, item))
        and max(item) <= signature.largest
        and min(item) >= -signature.largest
    )


def _check_item(signature: Signature, item: Any) -> None:
    if signature.task.startswith("tabular"):
        numbers_of(item, signature.features, largest=signature.largest)
    else:
        text_of(item)


def _from_object(item: Mapping[str, Any], features: Sequence[str], largest: float) -> list[float]:
    for name in features:
        if name not in item:
            raise DataRejected(_CODE, f"the feature {name!r} is missing", column=name)
    if len(item) > len(features):
        unknown = next(str(name) for name in item if name not in features)
        if not _SHOWABLE.match(unknown):
            raise InvalidInput("the input has a feature that the model has not")
        raise DataRejected(_CODE, f"the model has no feature {unknown!r}", column=unknown)
    return [_number(item[name], name, largest) for name in features]


def _number(value: Any, feature: str, largest: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise DataRejected(_CODE, f"the feature {feature!r} is not a number", column=feature)
    if not abs(value) <= largest:
        bits = 32 if largest == _LARGEST["float32"] else 64
        raise DataRejected(_CODE, f"the feature {feature!r} does not fit into {bits} bits", column=feature)
    return float(value)


def _pointer_in(item: Any, error: InvalidInput, features: Sequence[str]) -> str:
    """From the item to what is wrong with it, as RFC 6901 writes it."""
    column = error.info().column
    if column is None:
        return ""
    if isinstance(item, list):
        return f"/{features.index(column)}"
    return "/" + column.replace("~", "~0").replace("/", "~1")
