import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from inference_worker.onnx_file import check_is_one_file
from onnx import TensorProto, helper
from shared_schemas.errors import AttemptFailed

from tests.support.onnx_models import endless_loop, linear, with_external_data

WEIGHTS = np.eye(3, dtype=np.float32)


def code_of(path: Path) -> str:
    with pytest.raises(AttemptFailed) as refusal:
        check_is_one_file(path)
    return refusal.value.info().code


@pytest.mark.parametrize("model", [linear(WEIGHTS, WEIGHTS[0]), endless_loop(3)])
def test_a_model_in_one_file_passes(tmp_path: Path, model: bytes) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(model)

    check_is_one_file(path)


def test_a_model_with_tensors_in_another_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(with_external_data(linear(WEIGHTS, WEIGHTS[0]), tmp_path))

    assert code_of(path) == "model_unsupported"


def test_an_external_tensor_is_found_in_a_constant_of_a_loop_body(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    model = onnx.load_from_string(endless_loop(3))
    secret = TensorProto(name="secret", data_type=TensorProto.FLOAT, dims=[3], data_location=TensorProto.EXTERNAL)
    secret.external_data.add(key="location", value="../../etc/passwd")
    loop = next(node for node in model.graph.node if node.op_type == "Loop")
    body = next(attribute.g for attribute in loop.attribute if attribute.name == "body")
    body.node.append(helper.make_node("Constant", [], ["leak"], value=secret))
    path.write_bytes(model.SerializeToString())

    assert code_of(path) == "model_unsupported"


@pytest.mark.parametrize("contents", [b"", b"<html>not found</html>", os.urandom(4096), b"\x3a\xff\xff\xff\xff\x0f"])
def test_what_is_not_a_model_is_corrupt(tmp_path: Path, contents: bytes) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(contents)

    assert code_of(path) == "model_corrupt"


def test_a_truncated_model_is_corrupt(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(linear(WEIGHTS, WEIGHTS[0])[:-10])

    assert code_of(path) == "model_corrupt"
