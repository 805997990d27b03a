"""The ONNX files that every contestant serves, and a row for them. Knows no contestant."""

from itertools import pairwise
from pathlib import Path

import msgspec
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

N_FEATURES = 64
# As in peers/raw_serving_peer.py, which sends it as bytes.
ROW = np.linspace(-1.0, 1.0, N_FEATURES, dtype=np.float32)


class BenchModel(msgspec.Struct, frozen=True):
    """features [batch, 64] -> prediction [batch], with ReLU between the layers. title: as in the
    tables."""

    title: str
    hidden: tuple[int, ...]

    def write(self, folder: Path) -> Path:
        """The same bytes each time."""
        path = folder / f"{'-'.join(map(str, self.hidden))}.onnx"
        path.write_bytes(_perceptron(self.hidden))
        return path


LARGE = BenchModel("8.5 M parameters", (2_048, 2_048, 2_048))
TINY = BenchModel("1,000 parameters", (16,))


def _perceptron(hidden: tuple[int, ...]) -> bytes:
    random = np.random.default_rng(17)
    nodes, constants, name = [], {}, "features"
    for i, (n_in, n_out) in enumerate(pairwise((N_FEATURES, *hidden))):
        constants[f"w{i}"] = (random.standard_normal((n_in, n_out)) * (2 / n_in) ** 0.5).astype(np.float32)
        constants[f"b{i}"] = np.zeros(n_out, dtype=np.float32)
        nodes += [
            helper.make_node("Gemm", [name, f"w{i}", f"b{i}"], [f"sum{i}"]),
            helper.make_node("Relu", [f"sum{i}"], [f"relu{i}"]),
        ]
        name = f"relu{i}"
    constants["last"] = (random.standard_normal(hidden[-1]) / hidden[-1] ** 0.5).astype(np.float32)
    nodes.append(helper.make_node("MatMul", [name, "last"], ["prediction"]))
    graph = helper.make_graph(
        nodes,
        "table",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["batch", N_FEATURES])],
        [helper.make_tensor_value_info("prediction", TensorProto.FLOAT, ["batch"])],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())
