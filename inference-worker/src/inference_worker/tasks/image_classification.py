"""The task image-classification: a picture to one of several labels.

Which inputs are accepted at all is checked in `shared_schemas.inputs.images`, which a gateway uses too.
"""

from typing import Any, ClassVar

from anyio import CapacityLimiter, to_thread
from shared_schemas.errors import AttemptFailed
from shared_schemas.inputs.images import image_of
from shared_schemas.models import ImageSpec, ModelManifest, TensorSpec

from inference_worker import classification
from inference_worker.classification import Classification, check_logits, classification_of
from inference_worker.engines.batching import BatchingEngine
from inference_worker.graph import PIXEL_INPUTS, Graph, check_graph
from inference_worker.pictures import pixel_values
from inference_worker.tasks.task import Load, Request
from inference_worker.tensors import Arrays, Row

# A picture of the most pixels takes 200 MB while it is read.
_READ_AT_ONCE = 2


class ImageClassification:
    takes_many_runs: ClassVar[bool] = False
    takes_ones: ClassVar[bool] = True

    def __init__(self, manifest: ModelManifest, graph: Graph, engine: BatchingEngine, load: Load) -> None:
        check_graph(graph, "image-classification", inputs=PIXEL_INPUTS, output="logits")
        if manifest.image is None:
            raise AttemptFailed("model_unsupported", "the model was published without saying how it takes an image")
        self._spec = manifest.image
        [pixels] = graph.inputs
        _check_spec(self._spec, pixels)
        self._dtype = pixels.dtype
        self._labels = manifest.labels
        self._engine = engine
        self._reading = CapacityLimiter(_READ_AT_ONCE)

    def check_first_outputs(self, outputs: Arrays) -> None:
        check_logits(outputs, self._labels)

    async def answer(self, item: Any, index: int, request: Request) -> Classification:
        data = image_of(item)
        values = await to_thread.run_sync(pixel_values, data, self._spec, self._dtype, limiter=self._reading)
        outputs = await self._engine.infer(Row({"pixel_values": values}), alone=request.alone)
        return classification_of(outputs["logits"], self._labels, top_k=request.parameters.top_k)

    @staticmethod
    def reproducible(answer: Classification) -> Classification:
        return classification.rounded(answer)


def _check_spec(spec: ImageSpec, pixels: TensorSpec) -> None:
    """AttemptFailed model_unsupported if the graph does not take what the manifest describes, or if that is not
    possible."""
    shape = (pixels.shape or ())[1:]
    if len(shape) != 3 or any(isinstance(d, int) and d != size for d, size in zip(shape, spec.shape, strict=True)):
        raise AttemptFailed("model_unsupported", "the manifest does not describe the size of the model's images")
    n_channels = 1 if spec.channels == "L" else 3
    if len(spec.mean) not in (0, n_channels) or len(spec.std) not in (0, n_channels) or 0.0 in spec.std:
        raise AttemptFailed("model_unsupported", "the mean or the deviation does not fit the channels of an image")
    if pixels.dtype == "uint8" and (spec.mean or spec.std):
        raise AttemptFailed("model_unsupported", "a model of uint8 takes pixels, which have no mean and no deviation")
    edge = spec.shortest_edge
    if (spec.resize == "shortest_edge") != (edge is not None):
        raise AttemptFailed("model_unsupported", "an image is resized to a shortest edge only if that has a length")
    if edge is not None and edge < max(spec.height, spec.width):
        raise AttemptFailed("model_unsupported", "the shortest edge of an image is shorter than what is cut out of it")
