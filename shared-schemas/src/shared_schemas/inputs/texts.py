"""The form of input of the text tasks: one text. Pure.

What a worker does with it is in `inference_worker.tasks.text_classification`, `.text_embedding`,
`.text_generation` and `.token_classification`.
"""

from typing import Any

from shared_schemas.errors import InvalidInput
from shared_schemas.inputs.form import ItemForm


def dimensions_of(wanted: int | None, most: int) -> int:
    """How many numbers of a vector of `most` to return. InvalidInput if more are wanted."""
    if wanted is not None and wanted > most:
        raise InvalidInput(f"the vectors of this model have {most} dimensions", pointer="/parameters/dimensions")
    return most if wanted is None else wanted


def text_of(item: Any) -> str:
    if not isinstance(item, str):
        raise InvalidInput("this model takes a text")
    return item


class TextForm(ItemForm):
    def read(self, item: Any) -> str:
        return text_of(item)
