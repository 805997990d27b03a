"""A model must be one file that a protobuf parser can read."""

import os
import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message
from inference_worker.engines.session import OrtSession
from inference_worker.onnx_file import _CHILDREN, check_is_one_file
from onnx import ModelProto, TensorProto, helper
from shared_schemas.errors import AttemptFailed

from tests.support.onnx_models import endless_loop, linear, with_external_data
from tests.support.protobuf_wire import other_encoding, tag, varint

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


def is_refused(path: Path, contents: bytes) -> bool:
    path.write_bytes(contents)
    try:
        check_is_one_file(path)
    except AttemptFailed as refusal:
        if refusal.info().code == "model_unsupported":
            return True
        raise
    return False


def tensors_of(message: Message) -> Iterator[TensorProto]:
    if isinstance(message, TensorProto):
        yield message
    for field, value in message.ListFields():
        if field.message_type is not None:
            for each in value if field.is_repeated else [value]:
                yield from tensors_of(each)


def nested(rng: random.Random) -> ModelProto:
    """A model with tensors at each place where there may be one."""
    tensor = TensorProto(name="t", data_type=TensorProto.FLOAT, dims=[1], raw_data=bytes(4))
    model = ModelProto(ir_version=10, producer_name="tests")
    graphs = [model.graph, model.training_info.add().initialization, model.training_info.add().algorithm]
    functions = model.functions.add(name="f", domain="d")
    attributes = [functions.attribute_proto.add(name="a"), functions.node.add(op_type="Constant").attribute.add()]
    for graph in graphs:
        graph.initializer.add().CopyFrom(tensor)
        graph.sparse_initializer.add().values.CopyFrom(tensor)
        attributes.append(graph.node.add(op_type="Constant").attribute.add(name="b"))
    for attribute in attributes:
        attribute.t.CopyFrom(tensor)
        attribute.tensors.add().CopyFrom(tensor)
        attribute.g.initializer.add().CopyFrom(tensor)
        attribute.graphs.add().initializer.add().CopyFrom(tensor)
        attribute.sparse_tensor.indices.CopyFrom(tensor)
        attribute.sparse_tensors.add().values.CopyFrom(tensor)
    if rng.random() < 0.5:
        outside = rng.choice(list(tensors_of(model)))
        outside.data_location = TensorProto.EXTERNAL
        outside.external_data.add(key="location", value="weights.bin")
    return model


def test_what_the_parser_of_protobuf_finds_is_found_however_it_is_encoded(tmp_path: Path) -> None:
    rng, refused = random.Random(15), 0
    for _ in range(2000):
        model = nested(rng)
        contents = other_encoding(model, rng)
        parsed = onnx.load_from_string(contents)
        is_external = any(tensor.data_location == TensorProto.EXTERNAL for tensor in tensors_of(parsed))
        assert is_external == any(tensor.external_data for tensor in tensors_of(model))

        assert is_refused(tmp_path / "model.onnx", contents) == is_external
        refused += is_external

    assert 500 < refused < 1500


def test_every_message_that_may_hold_a_tensor_is_walked_into() -> None:
    holding: set[str] = {"TensorProto"}
    messages: dict[str, Descriptor] = ModelProto.DESCRIPTOR.file.message_types_by_name
    for _ in messages:
        holding |= {
            name
            for name, message in messages.items()
            if any(field.message_type is not None and field.message_type.name in holding for field in message.fields)
        }
    names = {name: name.removesuffix("Proto").removesuffix("Info") for name in holding}

    assert {
        names[name]: {
            field.number: names[field.message_type.name]
            for field in messages[name].fields
            if field.message_type is not None and field.message_type.name in holding
        }
        for name in holding
    } == _CHILDREN


@pytest.mark.parametrize("bits", [1 << 29, 1 << 30, 1 << 31])
def test_a_tag_above_32_bits_is_read_as_onnx_runtime_reads_it(tmp_path: Path, bits: int) -> None:
    path, plain = tmp_path / "model.onnx", linear(WEIGHTS, WEIGHTS[0])
    renamed = plain + tag(2 + bits, 2) + varint(5) + b"tests"
    outside = TensorProto(name="outside", data_type=TensorProto.FLOAT, dims=[1]).SerializeToString()
    outside += tag(14 + bits, 0) + varint(TensorProto.EXTERNAL)
    graph = tag(5 + bits, 2) + varint(len(outside)) + outside

    assert not is_refused(path, renamed)
    OrtSession(path, device="cpu")
    assert is_refused(path, plain + tag(7 + bits, 2) + varint(len(graph)) + graph)


@pytest.mark.parametrize(
    "field",
    [
        tag(2, 2, n_bytes=6) + varint(1) + b"a",
        tag(2, 2) + varint(1, n_bytes=6) + b"a",
        tag(2, 2) + varint(2) + b"a",
        tag(1, 0) + varint(8, n_bytes=11),
        tag(0, 2) + varint(1) + b"a",
        tag(99, 3) + tag(2, 2) + varint(1) + b"a",
        tag(99, 3) + tag(98, 4),
        tag(99, 4),
        tag(99, 3) * 101 + tag(99, 4) * 101,
        tag(99, 6),
        tag(99, 7),
        tag(99, 1) + bytes(7),
        tag(99, 5) + bytes(3),
    ],
)
def test_what_no_parser_of_protobuf_reads_is_corrupt(tmp_path: Path, field: bytes) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(linear(WEIGHTS, WEIGHTS[0]) + field)

    assert code_of(path) == "model_corrupt"
    with pytest.raises(AttemptFailed):
        OrtSession(path, device="cpu")
