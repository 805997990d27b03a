# /// script
# requires-python = ">=3.11,<3.14"
# dependencies = [
#     "numpy==2.4.6",
#     "pillow==13.0.0",
#     "scikit-image==0.26.0",
#     "torch==2.15.0",
#     "torchvision==0.29.2",
#     "transformers==5.24.0",
# ]
# ///
"""Writes what torchvision and transformers make of real photographs.

    uv run --script tests/references/image_preprocessing.py FOLDER

FOLDER gets the photographs as files, and arrays.npz with the values of each library for each of them. The photographs
come out of the package scikit-image.
"""

import sys
from pathlib import Path

import numpy as np
import skimage.data
from PIL import Image
from torchvision import transforms
from transformers import ViTImageProcessor

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
PHOTOGRAPHS = ("astronaut", "camera", "chelsea", "coffee", "rocket")


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    cut = transforms.Compose(
        [
            transforms.Resize(256),
            transforms.CenterCrop(224),
            transforms.ToTensor(),
            transforms.Normalize(MEAN, STD),
        ]
    )
    stretched = ViTImageProcessor(size={"height": 224, "width": 224}, image_mean=MEAN, image_std=STD, resample=2)
    arrays = {}
    for name in PHOTOGRAPHS:
        photograph = Image.fromarray(getattr(skimage.data, name)())
        for form in ("png", "jpg"):
            path = folder / f"{name}.{form}"
            photograph.save(path, quality=90)
            picture = Image.open(path).convert("RGB")
            arrays[f"{name}.{form}/torchvision"] = cut(picture).numpy()
            arrays[f"{name}.{form}/transformers"] = np.asarray(
                stretched(picture, return_tensors="np")["pixel_values"][0]
            )
    np.savez(folder / "arrays.npz", **arrays)


if __name__ == "__main__":
    main()
