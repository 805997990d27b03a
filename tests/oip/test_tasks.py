"""Models of other tasks than tensors: rows in, columns out, with the same answers as a native job."""

import base64
import io
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from tritonclient.http import InferenceServerClient, InferInput, InferRequestedOutput
from tritonclient.utils import InferenceServerException

from tests.support.oip_models import LABELS, WEIGHTS


def features(rows: Any, dtype: Any = np.float32) -> InferInput:
    array = np.array(rows, dtype=dtype)
    made = InferInput("features", list(array.shape), "FP32" if dtype is np.float32 else "FP64")
    made.set_data_from_numpy(array)
    return made


def texts(values: list[str], *, binary: bool = True) -> InferInput:
    made = InferInput("text", [len(values)], "BYTES")
    made.set_data_from_numpy(np.array([each.encode() for each in values], dtype=np.object_), binary_data=binary)
    return made


def picture(colour: tuple[int, int, int], form: str) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (20, 10), colour).save(file, form)
    return file.getvalue()


def native(http: httpx.Client, model: str, input_data: Any, **parameters: Any) -> Any:
    body = {"model_id": model, "input_data": input_data, "parameters": parameters}
    answer = http.post("/jobs/inference", json=body, headers={"Prefer": "wait=60"})
    assert answer.status_code == 200, answer.text
    assert answer.json()["state"] == "succeeded", answer.text
    return answer.json()["result"]


def decoded(array: Any) -> list[str]:
    return [each.decode() for each in array]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_classifier_of_features_gives_labels_and_scores(
    triton: InferenceServerClient, http: httpx.Client, dtype: Any
) -> None:
    rows = [[1, 2], [-3, 0.5], [0.25, -1]]

    result = triton.infer("wine", [features(rows, dtype)])

    expected = native(http, "wine", rows)
    assert decoded(result.as_numpy("label")) == [each["label"] for each in expected]
    scores = np.array([[each["scores"][label] for label in LABELS] for each in expected], dtype=np.float32)
    np.testing.assert_array_equal(result.as_numpy("scores"), scores)


def test_a_regression_gives_predictions(triton: InferenceServerClient, http: httpx.Client) -> None:
    rows = [[1, 2], [-3, 0.5]]
    outputs = [InferRequestedOutput("prediction", binary_data=False)]

    result = triton.infer("price", [features(rows)], outputs=outputs)

    np.testing.assert_array_equal(result.as_numpy("prediction"), np.array(rows, dtype=np.float32) @ WEIGHTS[:, 0])
    answer = [each["prediction"] for each in native(http, "price", rows)]
    assert result.get_output("prediction")["data"] == answer


@pytest.mark.parametrize("binary", [False, True])
def test_a_classifier_of_texts_gives_labels_and_scores(
    triton: InferenceServerClient, http: httpx.Client, binary: bool
) -> None:
    given = ["a queue", "é \U0001f600", "redis"]

    result = triton.infer("topic", [texts(given, binary=binary)])

    expected = native(http, "topic", given)
    assert decoded(result.as_numpy("label")) == [each["label"] for each in expected]
    assert result.as_numpy("scores").shape == (3, 3)


def test_texts_become_vectors(triton: InferenceServerClient, http: httpx.Client) -> None:
    given = ["a queue", "redis"]

    result = triton.infer("vectors", [texts(given)])

    expected = np.array([each["embedding"] for each in native(http, "vectors", given)], dtype=np.float32)
    np.testing.assert_array_equal(result.as_numpy("embedding"), expected)


def test_texts_are_continued_with_the_parameters_of_a_job(triton: InferenceServerClient, http: httpx.Client) -> None:
    given = ["a queue", "redis"]
    options = {"max_tokens": 5, "temperature": 0.5, "seed": 7, "top_k": 9}

    result = triton.infer("prose", [texts(given)], parameters=options)
    stopped = triton.infer("prose", [texts(given)], parameters={"max_tokens": 5, "seed": 7, "stop": "e"})

    expected = native(http, "prose", given, **options)
    assert decoded(result.as_numpy("generated_text")) == [each["text"] for each in expected]
    assert decoded(result.as_numpy("finish_reason")) == [each["finish_reason"] for each in expected]
    stops = native(http, "prose", given, max_tokens=5, seed=7, stop=["e"])
    assert decoded(stopped.as_numpy("generated_text")) == [each["text"] for each in stops]


def test_images_come_as_files_in_binary_and_in_base64_in_json(
    triton: InferenceServerClient, http: httpx.Client
) -> None:
    files = [picture((250, 20, 20), "PNG"), picture((20, 250, 20), "JPEG")]
    in_text = [base64.b64encode(file).decode() for file in files]
    answers = []
    for values, binary in ((files, True), (in_text, False), (in_text, True)):
        given = InferInput("image", [2], "BYTES")
        given.set_data_from_numpy(np.array(values, dtype=np.object_), binary_data=binary)
        if values is in_text and binary:
            with pytest.raises(InferenceServerException, match="neither JPEG nor PNG"):
                triton.infer("colours", [given])
        else:
            answers.append(triton.infer("colours", [given]).as_numpy("scores").tolist())

    expected = native(http, "colours", in_text)
    scores = [[each["scores"][label] for label in LABELS] for each in expected]
    assert answers == [np.array(scores, dtype=np.float32).tolist()] * 2


@pytest.mark.parametrize(
    ("shape", "given", "message"),
    [
        ([1, 1], ["a"], "another shape"),
        ([2], ["a"], "another shape"),
        ([0], [], "another shape"),
        ([1], ["no base64"], "not valid base64"),
        ([1], [7], "in base64"),
    ],
)
def test_images_that_do_not_fit_are_refused(http: httpx.Client, shape: list[int], given: Any, message: str) -> None:
    body = {"inputs": [{"name": "image", "shape": shape, "datatype": "BYTES", "data": given}]}

    answer = http.post("/v2/models/colours/infer", json=body)

    assert answer.status_code == 400
    assert message in answer.json()["error"]


def test_metadata_describe_rows(triton: InferenceServerClient) -> None:
    def shown(name: str) -> dict[str, tuple[str, list[int]]]:
        found = triton.get_model_metadata(name)
        return {each["name"]: (each["datatype"], each["shape"]) for each in found["inputs"] + found["outputs"]}

    assert shown("wine") == {"features": ("FP32", [-1, 2]), "label": ("BYTES", [-1]), "scores": ("FP32", [-1, 3])}
    assert shown("price") == {"features": ("FP32", [-1, 2]), "prediction": ("FP32", [-1])}
    assert shown("topic") == {"text": ("BYTES", [-1]), "label": ("BYTES", [-1]), "scores": ("FP32", [-1, 3])}
    assert shown("vectors") == {"text": ("BYTES", [-1]), "embedding": ("FP32", [-1, 6])}
    assert shown("prose") == {
        "text": ("BYTES", [-1]), "generated_text": ("BYTES", [-1]), "finish_reason": ("BYTES", [-1]),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("model", "given", "message"),
    [
        ("wine", features([[1, 2, 3]]), r"takes \[rows, 2\]"),
        ("wine", features([1, 2]), r"takes \[rows, 2\]"),
        ("wine", features(np.empty((0, 2))), "no rows"),
        ("wine", features([[1, np.nan]]), "not finite"),
        ("wine", features([[1, 2], [np.inf, 1]]), "not finite"),
        ("wine", texts(["a"]), "'features' is missing"),
        ("topic", texts([]), "no rows"),
        ("topic", features([[1, 2]]), "'text' is missing"),
    ],
)
def test_rows_that_do_not_fit_are_refused(
    triton: InferenceServerClient, model: str, given: InferInput, message: str
) -> None:
    with pytest.raises(InferenceServerException, match=message) as refused:
        triton.infer(model, [given])

    assert refused.value.status() == "400"


def test_a_row_that_fails_alone_is_named(triton: InferenceServerClient) -> None:
    """A tensor has no place for the error of a row, so the whole request fails."""
    with pytest.raises(InferenceServerException, match=r"row 1: the text is empty") as refused:
        triton.infer("vectors", [texts(["a", "", "b"])])

    assert refused.value.status() == "400"


@pytest.mark.parametrize("parameters", [{"max_tokens": 0}, {"temperature": "hot"}, {"seed": -1}, {"top_k": 1.5}])
def test_a_parameter_of_a_job_that_is_wrong_is_refused(
    triton: InferenceServerClient, parameters: dict[str, Any]
) -> None:
    with pytest.raises(InferenceServerException, match=next(iter(parameters))) as refused:
        triton.infer("prose", [texts(["a"])], parameters=parameters)

    assert refused.value.status() == "400"


def test_a_task_without_tensors_is_refused_by_name(triton: InferenceServerClient) -> None:
    with pytest.raises(InferenceServerException, match="models of the task rerank have no tensors") as refused:
        triton.infer("ranks", [texts(["a"])])

    assert refused.value.status() == "400"
    assert triton.get_model_metadata("ranks")["inputs"] == []
