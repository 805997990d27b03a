"""An exported model is compared with the trained one before it is published."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from recipe_kit.export import export_model
from recipe_kit.recipe import Export
from shared_schemas.errors import AttemptFailed
from shared_schemas.models import TensorSpec
from shared_schemas.store.files import ArtifactStore
from torch import Tensor, nn


class Scaled(nn.Module):
    """Computes something else while it is exported: with another factor, or with the rows in another
    order."""

    def __init__(self, *, factor: float = 1.0, is_reversed: bool = False) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 2)
        self.factor, self.is_reversed = factor, is_reversed

    def forward(self, features: Tensor) -> Tensor:
        logits: Tensor = self.linear(features)
        if torch.compiler.is_exporting():
            logits = logits * self.factor
            if self.is_reversed:
                logits = logits.flip(-1)
        return logits


def an_export(n_rows: int) -> Export:
    torch.manual_seed(3)
    return Export(
        examples=(torch.randn(n_rows, 3),),
        inputs=(TensorSpec(name="features", dtype="float32", shape=("batch", 3)),),
        outputs=(TensorSpec(name="logits", dtype="float32", shape=("batch", 2)),),
        dynamic=({0: "batch"},),
        classes_axis=1,
    )


@pytest.mark.parametrize("model", [Scaled(factor=1.01), Scaled(is_reversed=True)])
def test_an_export_that_computes_something_else_is_not_published(tmp_path: Path, model: Scaled) -> None:
    store = ArtifactStore(tmp_path)

    with pytest.raises(AttemptFailed) as caught:
        export_model(model, an_export(5), store)

    assert caught.value.info().code == "export_mismatch"
    assert list((tmp_path / "incoming").iterdir()) == []
    assert not (tmp_path / "sha256").exists()


@pytest.mark.parametrize("n_rows", [1, 5])
def test_an_export_is_one_checked_file_of_float32_with_a_batch_of_any_size(tmp_path: Path, n_rows: int) -> None:
    store = ArtifactStore(tmp_path)

    ref, opset = export_model(Scaled(), an_export(n_rows), store)

    proto = onnx.load(store.verify(ref), load_external_data=False)
    assert proto.opset_import[0].version == opset
    assert proto.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"
    assert all(tensor.data_location != onnx.TensorProto.EXTERNAL for tensor in proto.graph.initializer)
    assert {tensor.data_type for tensor in proto.graph.initializer} <= {onnx.TensorProto.FLOAT, onnx.TensorProto.INT64}


class Difference(nn.Module):
    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return a - b


@pytest.mark.parametrize("n_rows", [1, 5])
def test_one_tensor_may_be_the_example_of_two_inputs(tmp_path: Path, n_rows: int) -> None:
    example, axes = torch.randn(n_rows, 3), {0: "batch"}
    a, b = (TensorSpec(name=name, dtype="float32", shape=("batch", 3)) for name in ("a", "b"))
    difference = TensorSpec(name="difference", dtype="float32", shape=("batch", 3))
    export = Export(
        examples=(example, example), inputs=(a, b), outputs=(difference,), dynamic=(axes, axes), classes_axis=None
    )
    store = ArtifactStore(tmp_path)

    artifact, _ = export_model(Difference(), export, store)

    session = onnxruntime.InferenceSession(store.verify(artifact).read_bytes(), providers=["CPUExecutionProvider"])
    five, two = np.full((2, 3), 5, np.float32), np.full((2, 3), 2, np.float32)
    assert (session.run(None, {"a": five, "b": two})[0] == 3).all()
