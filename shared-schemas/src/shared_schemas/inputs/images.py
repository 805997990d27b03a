"""The form of input of the task image-classification: the file of a picture in base64. Pure.

It is a text, or an object with the text as its `image`. Whether the bytes are a picture is for the worker to see: the
gateway has no library for pictures. What a worker does with it is in `inference_worker.tasks.image_classification`.
"""

from typing import Any

from shared_schemas.errors import InvalidInput
from shared_schemas.inputs.form import ItemForm
from shared_schemas.inputs.tensor_bytes import bytes_of_base64

MOST_BYTES = 32 << 20


def image_of(item: Any) -> bytes:
    """The file of the picture. InvalidInput, with a pointer from the item to the value at fault."""
    pointer = ""
    if isinstance(item, dict):
        if set(item) != {"image"}:
            raise InvalidInput("the object has no image, or a field besides it")
        item, pointer = item["image"], "/image"
    if isinstance(item, bytes):
        data = item
    elif isinstance(item, str) and item:
        try:
            data = bytes_of_base64(item)
        except ValueError:
            raise InvalidInput("the image is not valid base64", pointer=pointer) from None
    else:
        raise InvalidInput("this model takes an image in base64", pointer=pointer)
    if len(data) > MOST_BYTES:
        raise InvalidInput(f"an image has at most {MOST_BYTES} bytes", pointer=pointer)
    return data


class ImageForm(ItemForm):
    def read(self, item: Any) -> bytes:
        return image_of(item)
