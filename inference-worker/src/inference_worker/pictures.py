"""The file of a picture to the numbers that a model takes, as its manifest says. It knows neither jobs nor models.

Only JPEG and PNG are read. The number of pixels is checked before any of them is decoded, since a small file may hold a
huge picture.
"""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from shared_schemas.errors import InvalidInput
from shared_schemas.models import Dtype, ImageSpec

from inference_worker.tensors import Array, numpy_dtype

FORMATS = ("JPEG", "PNG")
MOST_PIXELS = 50_000_000
# Pillow's modes of 16 bits in a pixel. Its own conversion to 8 bits clips the values at 255.
_DEEP_GREY = frozenset({"I", "I;16", "I;16B", "I;16L"})


def pixel_values(data: bytes, spec: ImageSpec, dtype: Dtype) -> Array:
    """-> [*spec.shape]. InvalidInput if the data is no picture, is broken or has too many pixels."""
    picture = _resized(_read(data, spec), spec)
    pixels: NDArray[np.uint8] = np.asarray(picture)
    if spec.channels == "BGR":
        pixels = pixels[:, :, ::-1]
    pixels = pixels.reshape(spec.height, spec.width, -1)
    values = pixels if dtype == "uint8" else _normalised(pixels.astype("f8" if dtype == "float64" else "f4"), spec)
    if spec.layout == "NCHW":
        values = values.transpose(2, 0, 1)
    return np.ascontiguousarray(values, dtype=numpy_dtype(dtype))


def _normalised(values: Array, spec: ImageSpec) -> Array:
    """values: [height, width, channels]"""
    values = values * spec.scale
    if spec.mean:
        values = values - np.array(spec.mean, dtype=values.dtype)
    return values / np.array(spec.std, dtype=values.dtype) if spec.std else values


def _read(data: bytes, spec: ImageSpec) -> Image.Image:
    """The whole picture the right way up, in RGB or L."""
    try:
        picture = Image.open(io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError as error:
        raise InvalidInput("the image is neither JPEG nor PNG") from error
    except Exception as error:  # a broken file makes Pillow raise many unrelated classes
        raise _broken() from error
    if picture.width * picture.height > MOST_PIXELS:
        raise InvalidInput(f"an image has at most {MOST_PIXELS} pixels")
    try:
        picture.load()
        upright: Image.Image = ImageOps.exif_transpose(picture)
    except Exception as error:  # see above
        raise _broken() from error
    return _in_colour(upright, spec)


def _in_colour(picture: Image.Image, spec: ImageSpec) -> Image.Image:
    if picture.mode in _DEEP_GREY:
        picture = Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8))
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        if spec.background is not None:
            picture = Image.alpha_composite(Image.new("RGBA", picture.size, (*spec.background, 255)), picture)
        # What is behind transparent pixels stays.
        picture = picture.convert("RGB")
    return picture.convert("L" if spec.channels == "L" else "RGB")


def _resized(picture: Image.Image, spec: ImageSpec) -> Image.Image:
    """The picture with the size that the model takes. Sizes and edges are rounded as in torchvision."""
    method = Image.Resampling[spec.interpolation.upper()]
    if spec.shortest_edge is None:
        return picture.resize((spec.width, spec.height), method)
    short = min(picture.size)
    width, height = (int(spec.shortest_edge * side / short) for side in picture.size)
    if width * height > MOST_PIXELS:
        raise InvalidInput("the image is too long for its width")
    left, top = round((width - spec.width) / 2), round((height - spec.height) / 2)
    whole = picture.resize((width, height), method)
    return whole.crop((left, top, left + spec.width, top + spec.height))


def _broken() -> InvalidInput:
    return InvalidInput("the image is broken or not complete")
