"""A picture becomes the numbers that its manifest describes, whatever the mode and the form of its file."""

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from inference_worker import pictures
from inference_worker.pictures import pixel_values
from numpy.typing import NDArray
from PIL import Image
from shared_schemas.errors import InvalidInput
from shared_schemas.models import ImageSpec

from tests.support.references import LONGEST_S, written_by

ORIENTATION = 0x0112
RED, GREEN = (255, 0, 0), (0, 255, 0)
PLAIN = ImageSpec(height=4, width=4, interpolation="nearest")


def file_of(picture: Image.Image, form: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    picture.save(file, form, **options)
    return file.getvalue()


def pixels(data: bytes, spec: ImageSpec = PLAIN) -> NDArray[np.uint8]:
    """[height, width, channels]"""
    return np.moveaxis(pixel_values(data, spec, "uint8"), 0, 2)


def gradient(width: int, height: int) -> Image.Image:
    y, x = np.mgrid[0:height, 0:width]
    return Image.fromarray(np.stack([x % 256, y % 256, (x * y) % 256], axis=2).astype(np.uint8))


def png(width: int, height: int, *, depth: int, colour: int, rows: bytes) -> bytes:
    """colour: as in PNG, 0 grey, 2 RGB, 4 grey and alpha, 6 RGBA."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    data = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + data


def test_values_are_scaled_and_normalised_for_each_channel() -> None:
    data = file_of(Image.new("RGB", (9, 5), (51, 102, 255)))
    spec = ImageSpec(height=2, width=3, mean=(0.5, 0.25, 1.0), std=(0.5, 2.0, 4.0))

    values = pixel_values(data, spec, "float32")

    assert (values.shape, values.dtype) == ((3, 2, 3), np.float32)
    np.testing.assert_allclose(values[:, 1, 2], [-0.6, 0.075, 0.0], atol=1e-7)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_the_layout_the_order_of_the_channels_and_the_dtype_are_those_of_the_model(dtype: Any) -> None:
    data = file_of(Image.new("RGB", (4, 4), (1, 2, 3)))
    spec = ImageSpec(height=4, width=4, channels="BGR", layout="NHWC", scale=1.0, mean=(1.0, 1.0, 1.0))

    values = pixel_values(data, spec, dtype)

    assert (values.shape, values.dtype) == ((4, 4, 3), np.dtype(dtype))
    assert values[0, 0].tolist() == [2.0, 1.0, 0.0]
    assert values.flags["C_CONTIGUOUS"]


@pytest.mark.parametrize("interpolation", ["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"])
def test_a_stretched_picture_is_that_of_pillow(interpolation: Any) -> None:
    picture = gradient(37, 23)
    spec = ImageSpec(height=8, width=12, interpolation=interpolation)

    expected = np.asarray(picture.resize((12, 8), Image.Resampling[interpolation.upper()]))

    assert (pixels(file_of(picture), spec) == expected).all()


@pytest.mark.parametrize(("width", "height"), [(40, 30), (30, 40), (33, 33), (301, 20), (8, 9)])
def test_the_middle_is_cut_out_of_a_picture_that_keeps_its_sides(width: int, height: int) -> None:
    picture = gradient(width, height)
    spec = ImageSpec(height=8, width=10, resize="shortest_edge", shortest_edge=12, interpolation="bicubic")

    short = min(width, height)
    size = (int(12 * width / short), int(12 * height / short))
    whole = np.asarray(picture.resize(size, Image.Resampling.BICUBIC))
    top, left = round((size[1] - 8) / 2), round((size[0] - 10) / 2)
    assert (pixels(file_of(picture), spec) == whole[top : top + 8, left : left + 10]).all()


@pytest.mark.parametrize("form", ["JPEG", "PNG"])
def test_a_picture_is_turned_as_its_exif_says(form: str) -> None:
    picture = Image.new("RGB", (4, 4), RED)
    picture.paste(GREEN, (0, 0, 4, 2))  # green above
    exif = Image.Exif()
    exif[ORIENTATION] = 6  # the camera was turned: the top of the file is the right side of the picture

    found = pixels(file_of(picture, form, exif=exif, **({"quality": 100, "subsampling": 0} if form == "JPEG" else {})))

    assert (found[:, 3, 1] > 200).all()
    assert (found[:, 0, 1] < 50).all()


def test_pictures_without_colour_have_it_in_each_channel() -> None:
    grey = Image.new("L", (4, 4), 77)
    black_and_white = Image.new("1", (4, 4), 1)

    assert pixels(file_of(grey))[0, 0].tolist() == [77] * 3
    assert pixels(file_of(grey, "JPEG", quality=100))[0, 0].tolist() == [77] * 3
    assert pixels(file_of(black_and_white))[0, 0].tolist() == [255] * 3


def test_a_model_of_grey_pictures_gets_the_luma() -> None:
    spec = ImageSpec(height=4, width=4, channels="L")

    assert pixels(file_of(Image.new("RGB", (4, 4), GREEN)), spec)[0, 0].tolist() == [150]
    assert pixels(file_of(Image.new("RGBA", (4, 4), (*GREEN, 0))), spec)[0, 0].tolist() == [150]


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparency_is_ignored_unless_there_is_a_background(mode: str) -> None:
    colour = (255, 255, 255)
    picture = Image.new("RGBA", (4, 4), (*colour, 0))
    options: dict[str, Any] = {}
    if mode == "P":
        picture = Image.new("P", (4, 4), 0)
        picture.putpalette([*colour, 0, 0, 0])
        options = {"transparency": bytes([0, 255])}
    data = file_of(picture if mode == "P" else picture.convert(mode), **options)
    on_grey = ImageSpec(height=4, width=4, background=(10, 20, 30))

    assert pixels(data)[0, 0].tolist() == [255] * 3
    assert pixels(data, on_grey)[0, 0].tolist() == [10, 20, 30]


def test_half_transparent_pixels_are_mixed_with_the_background() -> None:
    data = file_of(Image.new("RGBA", (4, 4), (200, 100, 0, 128)))

    mixed = pixels(data, ImageSpec(height=4, width=4, background=(0, 0, 200)))[0, 0]

    np.testing.assert_allclose(mixed, [100, 50, 100], atol=1)


def test_a_palette_becomes_its_colours() -> None:
    picture = Image.new("P", (4, 4), 1)
    picture.putpalette([0, 0, 0, 9, 8, 7])

    assert pixels(file_of(picture))[0, 0].tolist() == [9, 8, 7]


def test_cmyk_becomes_rgb() -> None:
    found = pixels(file_of(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG", quality=100))

    np.testing.assert_allclose(found[0, 0], RED, atol=3)


@pytest.mark.parametrize(("colour", "n_channels"), [(0, 1), (2, 3), (4, 2), (6, 4)])
def test_16_bits_keep_their_upper_8(colour: int, n_channels: int) -> None:
    channels = np.full((4, 4, n_channels), 0xFFFF, dtype=">u2")
    channels[:, :, : 1 if n_channels < 3 else 3] = 0x80FF
    rows = b"".join(b"\0" + row.tobytes() for row in channels)

    assert pixels(png(4, 4, depth=16, colour=colour, rows=rows))[0, 0].tolist() == [0x80] * 3


def broken() -> dict[str, bytes]:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    jpeg, whole = file_of(Image.fromarray(noise), "JPEG"), file_of(Image.fromarray(noise))
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 0xFF
    return {
        "nothing": b"",
        "text": b"<svg/>",
        "gif": file_of(Image.new("P", (4, 4)), "GIF"),
        "tiff": file_of(Image.new("RGB", (4, 4)), "TIFF"),
        "only the beginning of a png": whole[:8],
        "half a png": whole[: len(whole) // 2],
        "a png with another byte": bytes(flipped),
        "half a jpeg": jpeg[: len(jpeg) // 2],
        "only the beginning of a jpeg": jpeg[:4],
        "no pixels": png(0, 0, depth=8, colour=2, rows=b""),
        "fewer pixels than it says": png(64, 64, depth=8, colour=2, rows=b"\0" * 100),
        "a bomb": png(60_000, 60_000, depth=1, colour=0, rows=(b"\0" * 7_501) * 100),
        "a larger bomb": png(2**31 - 1, 2**31 - 1, depth=8, colour=2, rows=b""),
        "just too many pixels": png(pictures.MOST_PIXELS + 1, 1, depth=1, colour=0, rows=b""),
    }


@pytest.mark.parametrize("name", broken())
def test_what_is_no_whole_picture_of_a_sensible_size_is_refused(name: str) -> None:
    with pytest.raises(InvalidInput) as refusal:
        pixel_values(broken()[name], PLAIN, "uint8")

    said = {"text": "neither JPEG nor PNG", "gif": "neither", "tiff": "neither", "just too many pixels": "at most"}
    assert said.get(name, "the image") in str(refusal.value)
    if "bomb" in name:
        assert "pixels" in str(refusal.value) or "broken" in str(refusal.value)


def test_a_line_is_not_stretched_into_a_huge_picture() -> None:
    spec = ImageSpec(height=100, width=100, resize="shortest_edge", shortest_edge=256)
    line = file_of(Image.new("L", (60_000, 1)))

    with pytest.raises(InvalidInput, match="too long"):
        pixel_values(line, spec, "uint8")


@pytest.mark.references
@pytest.mark.timeout(LONGEST_S)
def test_photographs_become_what_torchvision_and_transformers_make_of_them(tmp_path: Path) -> None:
    folder = written_by("tests/references/image_preprocessing.py", tmp_path)
    numbers: dict[str, Any] = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
    specs = {
        "torchvision": ImageSpec(height=224, width=224, resize="shortest_edge", shortest_edge=256, **numbers),
        "transformers": ImageSpec(height=224, width=224, **numbers),
    }
    # transformers resizes tensors, whose arithmetic differs from that of Pillow by less than a level of 255.
    tolerance = {"torchvision": 1e-5, "transformers": 1 / 255 / 0.224 + 1e-5}

    with np.load(folder / "arrays.npz") as arrays:
        for name, expected in arrays.items():
            file, library = name.split("/")
            found = pixel_values((folder / file).read_bytes(), specs[library], "float32")
            difference = np.abs(found - expected)
            print(f"{name}: largest difference {difference.max():.2e}")
            assert difference.max() < tolerance[library]
        assert len(arrays) == 20
