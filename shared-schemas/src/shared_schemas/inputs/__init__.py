"""What `input_data` may be for a model, by what its manifest says. Pure: a gateway asks before it accepts a job, and a
worker before it runs one.

Each task has an entry in FORMS, and a file in `inference_worker.tasks` for everything that needs numpy.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from shared_schemas.errors import InvalidInput
from shared_schemas.inputs.features import LARGEST, Features
from shared_schemas.inputs.form import InputForm, Signature
from shared_schemas.inputs.texts import Texts
from shared_schemas.models import ModelManifest, Task

FORMS: dict[Task, InputForm] = {
    "text-classification": Texts(),
    "text-generation": Texts(),
    "tabular-classification": Features(),
    "tabular-regression": Features(),
}


class Inputs(msgspec.Struct, frozen=True):
    """items: not checked yet, each is an input of its own. is_list: the result is a list, too."""

    items: tuple[Any, ...]
    is_list: bool


def signature_of(manifest: ModelManifest) -> Signature:
    dtype = next((spec.dtype for spec in manifest.inputs if spec.name == "features"), "float32")
    return Signature(task=manifest.task, features=manifest.features, largest=LARGEST.get(dtype, LARGEST["float32"]))


def check_input(signature: Signature, input_data: Any) -> None:
    """InvalidInput, with a JSON pointer into the body, if a job with this input can have no answer: the one input, or
    each of a list, is refused. A list of which some can be used is no fault: the others are refused in its answer.
    Nothing is refused for a tabular model whose features have no names."""
    form = FORMS[signature.task]
    # Nearly all inputs are right, and a submission should not pay for the question in which way.
    if form.fits(signature, input_data):
        return
    try:
        inputs = inputs_of(signature.task, input_data)
    except InvalidInput as error:
        raise InvalidInput(str(error), pointer="/input_data") from None
    first: InvalidInput | None = None
    for place, item in enumerate(inputs.items):
        try:
            form.check(signature, item)
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
    if FORMS[task].is_one_input(input_data):
        return Inputs((input_data,), is_list=False)
    return Inputs(tuple(input_data), is_list=True)


def _pointer_in(item: Any, error: InvalidInput, features: Sequence[str]) -> str:
    """From the item to what is wrong with it, as RFC 6901 writes it."""
    column = error.info().column
    if column is None:
        return ""
    if isinstance(item, list):
        return f"/{features.index(column)}"
    return "/" + column.replace("~", "~0").replace("/", "~1")
