"""The classification extension: the largest values of an output with their indices and labels, as the stock client
asks for them."""

import struct
from typing import Any

import httpx
import numpy as np
import pytest
from tritonclient.http import InferenceServerClient, InferInput, InferRequestedOutput
from tritonclient.utils import InferenceServerException

from tests.oip.test_tasks import features
from tests.support.oip_models import LABELS


def floats(values: Any, name: str = "x") -> InferInput:
    array = np.array(values, dtype=np.float32)
    made = InferInput(name, list(array.shape), "FP32")
    made.set_data_from_numpy(array)
    return made


def classes(client: InferenceServerClient, model: str, given: InferInput, output: str, n: int, **options: Any) -> Any:
    """-> the texts, in the shape of the answer"""
    wanted = InferRequestedOutput(output, class_count=n, **options)
    return client.infer(model, [given], outputs=[wanted]).as_numpy(output).astype(str)


@pytest.mark.parametrize("is_binary", [True, False])
def test_the_scores_of_each_row_are_ranked_with_their_labels(triton: InferenceServerClient, is_binary: bool) -> None:
    rows = features([[1, 2], [-3, 0.5], [0.25, -1]])
    scores = triton.infer("wine", [rows]).as_numpy("scores")

    found = classes(triton, "wine", rows, "scores", 2, binary_data=is_binary)

    ranked = np.argsort(-scores, axis=1)[:, :2]
    assert found.shape == (3, 2)
    assert found.tolist() == [
        [f"{scores[row, place]:f}:{place}:{LABELS[place]}" for place in places] for row, places in enumerate(ranked)
    ]


def test_a_label_may_be_asked_for_beside_its_classes(triton: InferenceServerClient) -> None:
    wanted = [InferRequestedOutput("label"), InferRequestedOutput("scores", class_count=1)]

    result = triton.infer("wine", [features([[1, 2]])], outputs=wanted)

    label = result.as_numpy("label")[0].decode()
    assert result.as_numpy("scores")[0, 0].decode().endswith(f":{label}")


def test_rows_of_a_batch_are_ranked_one_by_one_and_other_tensors_whole(triton: InferenceServerClient) -> None:
    assert classes(triton, "rows", floats([[1, 2], [4, 3]]), "y", 1).tolist() == [["2.000000:1"], ["4.000000:0"]]
    # The model has no batch axis, so nobody knows what its first dimension counts.
    assert classes(triton, "pairs", floats([1, 4, 3, 2]), "y", 3).tolist() == ["4.000000:1", "3.000000:2", "2.000000:3"]


def test_no_more_classes_come_than_there_are_values(triton: InferenceServerClient) -> None:
    assert classes(triton, "rows", floats([[1, 2]]), "y", 99).shape == (1, 2)
    assert classes(triton, "rows", floats(np.zeros((0, 2))), "y", 1).shape == (0, 1)


@pytest.mark.parametrize("is_binary", [True, False])
def test_equal_values_keep_their_order_and_what_is_no_number_comes_last(
    triton: InferenceServerClient, is_binary: bool
) -> None:
    given = floats([np.nan, 2, np.inf, 2, -np.inf])

    found = classes(triton, "any-float32", given, "y", 5, binary_data=is_binary)

    assert found.tolist() == ["inf:2", "2.000000:1", "2.000000:3", "-inf:4", "nan:0"]


@pytest.mark.parametrize(
    ("datatype", "data", "expected"),
    [
        ("INT64", struct.pack("<3q", -1, 2**62, 5), [f"{2**62}:1", "5:2"]),
        ("UINT8", bytes([1, 255, 3]), ["255:1", "3:2"]),
        ("FP16", np.array([1, 3, 2], np.float16).tobytes(), ["3.000000:1", "2.000000:2"]),
        ("BF16", struct.pack("<3f", 1, 3, 2)[2:4] + b"\x40\x40" + b"\x00\x40", ["3.000000:1", "2.000000:2"]),
        ("FP64", struct.pack("<3d", 0.5, 1e-9, 0.25), ["0.500000:0", "0.250000:2"]),
    ],
)
@pytest.mark.parametrize("is_binary", [True, False])
def test_numbers_of_any_datatype_are_ranked(
    triton: InferenceServerClient, datatype: str, data: bytes, expected: list[str], is_binary: bool
) -> None:
    names = {"FP16": "float16", "BF16": "bfloat16", "FP64": "float64"}
    given = InferInput("x", [3], datatype)
    given._raw_data = data  # the client has no other way to send bytes of BF16
    given._parameters["binary_data_size"] = len(data)

    found = classes(triton, f"any-{names.get(datatype, datatype.lower())}", given, "y", 2, binary_data=is_binary)

    assert found.tolist() == expected


@pytest.mark.parametrize("model", ["any-bool", "any-string"])
def test_what_has_no_order_is_refused(http: httpx.Client, model: str) -> None:
    datatype, value = ("BOOL", True) if model == "any-bool" else ("BYTES", "a")
    body = {
        "inputs": [{"name": "x", "shape": [1], "datatype": datatype, "data": [value]}],
        "outputs": [{"name": "y", "parameters": {"classification": 1}}],
    }
    answer = http.post(f"/v2/models/{model}/infer", json=body)

    assert answer.status_code == 400
    assert f"an output of {datatype} has no largest values" in answer.json()["error"]


@pytest.mark.parametrize("count", [-1, 1.5, "2", True, None, [1]])
def test_a_count_that_is_none_is_refused(http: httpx.Client, count: Any) -> None:
    body = {
        "inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]}],
        "outputs": [{"name": "y", "parameters": {"classification": count}}],
    }
    answer = http.post("/v2/models/rows/infer", json=body)

    assert answer.status_code == 400
    assert "/outputs/0/parameters/classification" in answer.json()["error"]


def test_the_extension_is_named(triton: InferenceServerClient) -> None:
    assert "classification" in triton.get_server_metadata()["extensions"]
    with pytest.raises(InferenceServerException, match="not a whole number"):
        classes(triton, "rows", floats([[1, 2]]), "y", -1)
