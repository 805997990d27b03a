"""Models of each task, to be asked through the Open Inference Protocol."""

import numpy as np
from onnx import TensorProto, helper
from shared_schemas.models import EmbeddingSpec, ImageSpec, Model
from shared_schemas.store.files import ArtifactStore

from tests.support.gateways import driver
from tests.support.onnx_models import (
    a_model,
    bag_of_words,
    bigram,
    byte_tokenizer,
    encoder,
    linear,
    mean_colour,
    regression,
)
from tests.support.onnx_tensors import DTYPES, a_tensor_model, graph, identity

LABELS = ("first", "second", "third")
FEATURES = ("a", "b")
WEIGHTS = np.array([[1, -1, 0.5], [0, 2, -0.25]], dtype=np.float32)


def several() -> bytes:
    """image [batch, 2], scale [] -> scaled [batch, 2] = image * scale, is_large [batch, 2] = scaled > scale."""
    make = helper.make_tensor_value_info
    nodes = [
        helper.make_node("Mul", ["image", "scale"], ["scaled"]),
        helper.make_node("Greater", ["scaled", "scale"], ["is_large"]),
    ]
    inputs = [make("image", TensorProto.FLOAT, ["batch", 2]), make("scale", TensorProto.FLOAT, [])]
    outputs = [make("scaled", TensorProto.FLOAT, ["batch", 2]), make("is_large", TensorProto.BOOL, ["batch", 2])]
    return graph(nodes, inputs, outputs)


def only_pairs() -> bytes:
    """x [n] -> y [n / 2, 2]: the run fails for an odd n."""
    make = helper.make_tensor_value_info
    shape = helper.make_node("Constant", [], ["shape"], value_ints=[-1, 2])
    reshape = helper.make_node("Reshape", ["x", "shape"], ["y"])
    return graph([shape, reshape], [make("x", TensorProto.FLOAT, ["n"])], [make("y", TensorProto.FLOAT, ["rows", 2])])


def models(store: ArtifactStore) -> list[Model]:
    rng = np.random.default_rng(0)
    text = {"tokenizer": byte_tokenizer(), "context_length": 64}
    table = rng.standard_normal((260, 4)).astype(np.float32)
    words = rng.standard_normal((260, 3)).astype(np.float32)
    letters = rng.standard_normal((260, 260)).astype(np.float32)
    vectors = EmbeddingSpec(dimensions=6, pooling="mean", normalize=True)
    image = ImageSpec(height=8, width=6)
    bias = np.zeros(3, dtype=np.float32)
    return [
        *(a_tensor_model(store, identity(dtype, None), name=f"any-{dtype}") for dtype in DTYPES),
        a_tensor_model(store, identity("float32", ("batch", 2)), name="rows", batch_axis="batch"),
        a_tensor_model(store, several(), name="several"),
        a_tensor_model(store, only_pairs(), name="pairs"),
        a_model(store, linear(WEIGHTS, bias), name="wine", labels=LABELS, features=FEATURES),
        a_model(store, linear(2 * WEIGHTS, bias), name="wine", labels=LABELS, features=FEATURES),
        a_model(store, linear(WEIGHTS, bias), name="ranks", task="rerank"),
        a_model(store, mean_colour([3, 8, 6]), name="colours", task="image-classification", labels=LABELS, image=image),
        a_model(store, regression(WEIGHTS[:, 0]), name="price", task="tabular-regression", features=FEATURES),
        a_model(store, bag_of_words(words), name="topic", task="text-classification", labels=LABELS, **text),
        a_model(store, encoder(table), name="vectors", task="text-embedding", embedding=vectors, **text),
        a_model(store, bigram(letters), name="prose", task="text-generation", **text),
    ]


async def publish(redis_url: str, found: list[Model]) -> None:
    async with driver(redis_url) as drive:
        for model in found:
            await drive.publish(model.name, manifest=model.manifest)
