"""Pictures are classified, and what is no picture fails alone."""

import base64
import io
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from onnx import TensorProto
from PIL import Image
from shared_schemas.models import ImageSpec, Model
from shared_schemas.store.files import ArtifactStore

from tests.support.onnx_models import a_model, linear, mean_colour
from tests.support.served_model import serving

LABELS = ("red", "green", "blue")


def a_classifier(folder: Path, *, onnx_file: bytes | None = None, **options: Any) -> Model:
    given: dict[str, Any] = {"labels": LABELS, "image": ImageSpec(height=8, width=6), **options}
    file = mean_colour([3, 8, 6]) if onnx_file is None else onnx_file
    return a_model(ArtifactStore(folder), file, task="image-classification", **given)


def picture(colour: tuple[int, int, int], form: str = "PNG") -> str:
    file = io.BytesIO()
    Image.new("RGB", (20, 10), colour).save(file, form)
    return base64.b64encode(file.getvalue()).decode()


RED, GREEN = picture((250, 20, 20)), picture((20, 250, 20), "JPEG")


async def test_a_picture_has_a_label_and_scores(tmp_path: Path) -> None:
    async with serving(tmp_path, a_classifier(tmp_path)) as model:
        answer = await model.ask(RED)
        best = await model.ask({"image": GREEN}, top_k=1)

    logits = np.array([250, 20, 20]) / 255
    scores = np.exp(logits) / np.exp(logits).sum()
    assert answer["label"] == "red"
    assert list(answer["scores"].values()) == pytest.approx(sorted(scores, reverse=True))
    assert set(answer) == {"label", "score", "scores"}
    assert list(best["scores"]) == ["green"]


async def test_inputs_that_cannot_be_used_fail_alone(tmp_path: Path) -> None:
    bad = [
        "",
        "@@@@",
        "aGVsbG8=",
        7,
        {"image": None},
        {"picture": RED},
        {"image": RED, "size": 1},
        None,
        RED[: len(RED) // 8 * 4],
    ]

    async with serving(tmp_path, a_classifier(tmp_path), max_wait_ms=20.0) as model:
        answers = await model.ask([RED, *bad, {"image": RED}])
        alone = await model.failure("aGVsbG8=")

    assert answers[0] == answers[-1]
    assert [answer["error"]["code"] for answer in answers[1:-1]] == ["invalid_input"] * len(bad)
    assert alone == "invalid_input: the image is neither JPEG nor PNG"


async def test_the_answer_is_the_same_alone_and_in_company(tmp_path: Path) -> None:
    images = [picture((i * 20, 255 - i * 20, 128)) for i in range(12)]

    async with serving(tmp_path, a_classifier(tmp_path), max_wait_ms=20.0) as model:
        together = await model.outcome(images)
        alone = [await model.ask(image) for image in images]
        again = await model.outcome(images)

    assert msgspec.json.decode(together.result) == alone
    assert together.digest == again.digest


@pytest.mark.parametrize("dtype", [TensorProto.UINT8, TensorProto.FLOAT16, TensorProto.FLOAT, TensorProto.DOUBLE])
async def test_the_graph_may_have_any_size_and_other_numbers(tmp_path: Path, dtype: int) -> None:
    graph = mean_colour(["height", "width", 3], dtype=dtype, axes=(1, 2))
    spec = ImageSpec(height=8, width=6, layout="NHWC", scale=1.0)

    async with serving(tmp_path, a_classifier(tmp_path, onnx_file=graph, image=spec)) as model:
        answer = await model.ask(RED)

    assert (answer["label"], answer["score"]) == ("red", pytest.approx(1.0))


def spec(**fields: Any) -> dict[str, Any]:
    return {"image": ImageSpec(**{"height": 8, "width": 6, **fields})}


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "no spec": ({"image": None}, "how it takes an image"),
    "another size": (spec(height=9), "size of the model's images"),
    "another layout": (spec(layout="NHWC"), "size of the model's images"),
    "another number of channels": (spec(channels="L"), "size of the model's images"),
    "two means": (spec(mean=(0.5, 0.5)), "does not fit the channels"),
    "a deviation of nothing": (spec(std=(1.0, 0.0, 1.0)), "does not fit the channels"),
    "no shortest edge": (spec(resize="shortest_edge"), "shortest edge"),
    "a shortest edge for nothing": (spec(shortest_edge=9), "shortest edge"),
    "an edge that is too short": (spec(resize="shortest_edge", shortest_edge=7), "shorter than what is cut"),
    "pixels with a mean": (
        {"onnx_file": mean_colour([3, 8, 6], dtype=TensorProto.UINT8), **spec(mean=(0.5, 0.5, 0.5))},
        "takes pixels",
    ),
    "other labels": ({"labels": ("a", "b")}, "does not fit its labels"),
    "no pictures": ({"onnx_file": linear(np.eye(2, dtype="f"), np.zeros(2, "f"))}, "takes pixel_values"),
    "no rows of pixels": ({"onnx_file": mean_colour([3, 8], axes=(2,))}, "size of the model's images"),
}


@pytest.mark.parametrize("wrong", WRONG)
async def test_a_model_that_does_not_fit_is_unsupported(tmp_path: Path, wrong: str) -> None:
    options, said = WRONG[wrong]

    async with serving(tmp_path, a_classifier(tmp_path, **options)) as model:
        failure = await model.failure(RED)

    assert failure.startswith("model_unsupported")
    assert said in failure
