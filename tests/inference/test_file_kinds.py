"""Files are recognised by their first bytes, and a model is never taken for another file."""

import bz2
import gzip
import io
import json
import lzma
import pickle
import zipfile
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from inference_worker.file_kinds import HEAD_BYTES, kind_of
from onnx import ModelProto
from safetensors.torch import save as save_safetensors
from sklearn.linear_model import LogisticRegression

from tests.support.onnx_models import linear
from tests.support.onnx_tensors import identity

MODELS = [linear(np.ones((3, 2), np.float32), np.zeros(2, np.float32)), identity("string"), identity("int8", [])]


def written(write: Callable[[io.BytesIO], object]) -> bytes:
    target = io.BytesIO()
    write(target)
    return target.getvalue()


def zipped(name: str) -> bytes:
    return written(lambda target: zipfile.ZipFile(target, "w").writestr(name, MODELS[0]))


MODULE = torch.nn.Linear(3, 3)
KINDS = [
    (b"<!DOCTYPE html>\n<html>", "HTML"),
    (b"\xef\xbb\xbf\r\n  <HTML lang=en>", "HTML"),
    (written(lambda target: torch.save(MODULE.state_dict(), target)), "torch.save"),
    (written(lambda target: torch.jit.save(torch.jit.script(MODULE), target)), "torch.save"),
    (
        written(lambda target: torch.save(MODULE.state_dict(), target, _use_new_zipfile_serialization=False)),
        "pickle",
    ),
    (zipped("model.onnx"), "zip archive"),
    *((pickle.dumps(LogisticRegression(), protocol=protocol), "pickle") for protocol in range(2, 6)),
    (save_safetensors(MODULE.state_dict()), "safetensors"),
    (save_safetensors({}), "safetensors"),
    (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "git lfs pull"),
    (gzip.compress(MODELS[0]), "gzip"),
    (lzma.compress(MODELS[0]), "xz"),
    (written(lambda target: np.save(target, np.ones(3))), "NumPy"),
    (json.dumps({"task": "tensors"}).encode(), "JSON"),
]


@pytest.mark.parametrize(("contents", "says"), KINDS, ids=[f"{i}-{says}" for i, (_, says) in enumerate(KINDS)])
def test_a_file_is_recognised_by_its_beginning(contents: bytes, says: str) -> None:
    found = kind_of(contents[:HEAD_BYTES])

    assert found is not None
    assert says in found


@pytest.mark.parametrize("contents", [*MODELS, b"", b"\x00", b"plain text\n", bz2.compress(b"x"), b"\x80", bytes(600)])
def test_a_model_and_what_nobody_knows_have_no_kind(contents: bytes) -> None:
    assert kind_of(contents[:HEAD_BYTES]) is None


@given(st.integers(0, 20), st.text(max_size=300), st.text(max_size=300))
def test_no_model_is_taken_for_another_file(ir_version: int, producer: str, doc: str) -> None:
    model = ModelProto(ir_version=ir_version, producer_name=producer, doc_string=doc)

    assert kind_of(model.SerializeToString()[:HEAD_BYTES]) is None


@given(st.binary(max_size=HEAD_BYTES))
def test_any_bytes_are_looked_at(head: bytes) -> None:
    found = kind_of(head)

    assert found is None or ":" in found or "not a model" in found
