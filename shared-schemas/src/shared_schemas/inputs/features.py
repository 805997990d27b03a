"""The form of input of the tabular tasks: an object of features, or a list of numbers in the model's order. Pure.

What a worker does with it is in `inference_worker.tasks.tabular_classification` and `.tabular_regression`.

Messages name features but never repeat a value: they are shown in the API.
"""

import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from shared_schemas.errors import DataRejected, InvalidInput
from shared_schemas.inputs.form import Signature

_CODE = "invalid_input"
_NUMBERS = frozenset({int, float})
# Names of unknown features that are safe to repeat in a message.
_SHOWABLE = re.compile(r"[\w.\- ]{1,64}\Z")
LARGEST_NUMBER = {"float32": 3.4028234663852886e38, "float64": sys.float_info.max}


class FeatureForm:
    """As InputForm."""

    def fits(self, signature: Signature, input_data: Any) -> bool:
        """Always true if the model's features have no names: there is nothing to check against. Numbers must be finite,
        as they are in JSON."""
        if not signature.features:
            return True
        if type(input_data) is dict:
            if len(input_data) != len(signature.features):
                return False
            input_data = list(map(input_data.get, signature.features))
        return (
            type(input_data) is list
            and len(input_data) == len(signature.features)
            and _NUMBERS.issuperset(map(type, input_data))
            and max(input_data) <= signature.largest
            and min(input_data) >= -signature.largest
        )

    def is_one_input(self, input_data: list[Any]) -> bool:
        return not any(isinstance(item, dict | list) for item in input_data)

    def check(self, signature: Signature, item: Any) -> None:
        numbers_of(item, signature.features, largest=signature.largest)


def numbers_of(item: Any, features: Sequence[str], *, largest: float = LARGEST_NUMBER["float32"]) -> list[float]:
    """One number for each feature, in the model's order. DataRejected, with the feature as its column, if a feature is
    missing, unknown or not a finite number; InvalidInput if the item is not a row."""
    if isinstance(item, Mapping):
        return _from_object(item, features, largest)
    if isinstance(item, list):
        if len(item) != len(features):
            raise InvalidInput(f"this model takes {len(features)} numbers, {len(item)} were given")
        return [_number(value, name, largest) for value, name in zip(item, features, strict=True)]
    raise InvalidInput("this model takes an object of features or a list of numbers")


def _from_object(item: Mapping[str, Any], features: Sequence[str], largest: float) -> list[float]:
    for name in features:
        if name not in item:
            raise DataRejected(_CODE, f"the feature {name!r} is missing", column=name)
    if len(item) > len(features):
        unknown = next(str(name) for name in item if name not in features)
        if not _SHOWABLE.match(unknown):
            raise InvalidInput("the input has a feature that the model does not have")
        raise DataRejected(_CODE, f"the model has no feature {unknown!r}", column=unknown)
    return [_number(item[name], name, largest) for name in features]


def _number(value: Any, feature: str, largest: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise DataRejected(_CODE, f"the feature {feature!r} is not a number", column=feature)
    if not abs(value) <= largest:
        bits = 32 if largest == LARGEST_NUMBER["float32"] else 64
        raise DataRejected(_CODE, f"the feature {feature!r} does not fit into {bits} bits", column=feature)
    return float(value)
