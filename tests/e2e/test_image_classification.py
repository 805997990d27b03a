"""Pictures are classified through a real gateway, Redis and worker as the same network classifies them in torch."""

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from headrace import BadRequest
from PIL import Image
from shared_schemas.models import ImageSpec
from shared_schemas.store.files import ArtifactStore

from tests.support.onnx_models import a_model
from tests.support.serving_processes import ask, serving
from tests.support.torch_models import ConvolutionalNetwork, exported_pictures, seeded

LABELS = ("cat", "dog", "mill", "queue")
HEIGHT, WIDTH, MEAN, STD = 24, 32, (0.5, 0.4, 0.3), (0.2, 0.3, 0.25)


def picture(width: int, height: int, seed: int) -> Image.Image:
    """Coloured clouds."""
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def in_base64(image: Image.Image, form: str) -> str:
    file = io.BytesIO()
    image.save(file, form)
    return base64.b64encode(file.getvalue()).decode()


async def test_pictures_have_the_scores_of_torch(redis_url: str, tmp_path: Path) -> None:
    network = seeded(ConvolutionalNetwork, len(LABELS))
    model = a_model(
        ArtifactStore(tmp_path / "artifacts"),
        exported_pictures(network, tmp_path / "model.onnx", height=HEIGHT, width=WIDTH),
        task="image-classification",
        labels=LABELS,
        image=ImageSpec(height=HEIGHT, width=WIDTH, mean=MEAN, std=STD),
    )
    sizes = {"PNG": (90, 40), "JPEG": (64, 64)}
    files = [in_base64(picture(*size, seed), form) for seed, (form, size) in enumerate(sizes.items())]
    files.append(in_base64(picture(9, 7, 3), "PNG"))
    not_a_picture = base64.b64encode(b"%PDF-1.7").decode()

    async with serving(redis_url, tmp_path, model) as client:
        answers = await ask(client, [*files, not_a_picture, {"image": files[0]}])
        alone = await ask(client, {"image": files[1]}, top_k=2)
        with pytest.raises(BadRequest, match="base64"):
            await ask(client, {"image": "no image"})

    for file, answer in zip(files, answers, strict=False):
        expected = scores(network, file)
        assert answer["label"] == max(expected, key=lambda label: expected[label])
        assert answer["scores"] == pytest.approx(expected, abs=1e-5)
    assert answers[3]["error"] == {"code": "invalid_input", "message": "the image is neither JPEG nor PNG"}
    assert answers[4] == answers[0]
    assert (alone["label"], len(alone["scores"])) == (answers[1]["label"], 2)


def scores(network: torch.nn.Module, file: str) -> dict[str, Any]:
    image = Image.open(io.BytesIO(base64.b64decode(file))).resize((WIDTH, HEIGHT), Image.Resampling.BILINEAR)
    values = (np.asarray(image) / 255 - np.array(MEAN)) / np.array(STD)
    with torch.no_grad():
        logits = network(torch.tensor(values.transpose(2, 0, 1)[None], dtype=torch.float32))[0]
    return dict(zip(LABELS, logits.softmax(dim=-1).tolist(), strict=True))
