"""Checks `input_data` against the manifest of a model. Pure: a gateway checks before it accepts a job, and a worker
before it runs one.

Each task has an entry in INPUT_FORMS, and a file in `inference_worker.tasks` for everything that needs numpy.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from shared_schemas.errors import InvalidInput
from shared_schemas.inputs.documents import DocumentsForm
from shared_schemas.inputs.features import LARGEST_NUMBER, FeatureForm
from shared_schemas.inputs.form import InputForm, Signature
from shared_schemas.inputs.images import ImageForm
from shared_schemas.inputs.tensors import TensorForm
from shared_schemas.inputs.texts import TextForm, dimensions_of
from shared_schemas.models import ModelManifest, Task
from shared_schemas.specs import InferenceParameters

INPUT_FORMS: dict[Task, InputForm] = {
    "image-classification": ImageForm(),
    "rerank": DocumentsForm(),
    "text-classification": TextForm(),
    "text-embedding": TextForm(),
    "text-generation": TextForm(),
    "tabular-classification": FeatureForm(),
    "tabular-regression": FeatureForm(),
    "tensors": TensorForm(),
    "token-classification": TextForm(),
}


class Inputs(msgspec.Struct, frozen=True):
    """items: the inputs, not checked yet. is_list: whether input_data was a list of inputs; then the result is a list
    too."""

    items: tuple[Any, ...]
    is_list: bool


def signature_of(manifest: ModelManifest) -> Signature:
    if manifest.task == "tensors":
        return Signature(task=manifest.task, tensors=manifest.inputs)
    if manifest.embedding is not None:
        return Signature(task=manifest.task, dimensions=manifest.embedding.dimensions)
    dtype = next((spec.dtype for spec in manifest.inputs if spec.name == "features"), "float32")
    return Signature(
        task=manifest.task, features=manifest.features, largest=LARGEST_NUMBER.get(dtype, LARGEST_NUMBER["float32"])
    )


def check_input(signature: Signature, input_data: Any) -> None:
    """InvalidInput, with a JSON pointer into the body, if the one input or every input of a list is refused. If some
    inputs of a list can be used, nothing is raised: the result has an error in place of each of the others. A tabular
    model whose features have no names refuses nothing."""
    form = INPUT_FORMS[signature.task]
    # Nearly all inputs are right, so look first whether anything is wrong, and only then for what it is.
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
            within = error.pointer or _pointer_in(item, error, signature.features)
            first = first or InvalidInput(str(error), pointer=at + within)
    if first is not None:
        raise first


def check_parameters(signature: Signature, parameters: InferenceParameters) -> None:
    """InvalidInput, with a JSON pointer into the body, if no input can be answered with these parameters."""
    if signature.dimensions is not None:
        dimensions_of(parameters.dimensions, signature.dimensions)


def inputs_of(task: Task, input_data: Any) -> Inputs:
    """Split a list of inputs; anything else is one input. The form says whether a list is one input itself, such as a
    flat list of numbers. InvalidInput for an empty list."""
    if not isinstance(input_data, list):
        return Inputs((input_data,), is_list=False)
    if not input_data:
        raise InvalidInput("input_data is an empty list")
    if INPUT_FORMS[task].is_one_input(input_data):
        return Inputs((input_data,), is_list=False)
    return Inputs(tuple(input_data), is_list=True)


def _pointer_in(item: Any, error: InvalidInput, features: Sequence[str]) -> str:
    """A JSON pointer (RFC 6901) from the item to the value that is wrong."""
    column = error.info().column
    if column is None:
        return ""
    if isinstance(item, list):
        return f"/{features.index(column)}"
    return "/" + column.replace("~", "~0").replace("/", "~1")
