"""Exports a torch model to one ONNX file, and compares the two before the file is stored.

Knows no recipe and no job: `Export` says what the graph takes and gives.
"""

import io
import logging
import warnings
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx.reference import ReferenceEvaluator
from shared_schemas.artifacts import ArtifactRef
from shared_schemas.errors import AttemptFailed
from shared_schemas.store.files import ArtifactStore
from torch import Tensor, nn

from recipe_kit.recipe import Export

MEDIA_TYPE = "application/onnx"
# The largest difference between torch and ONNX, relative to the size of the outputs. Adding float32
# numbers in another order changes a sum by about 1e-6 for each term. Ten layers with sums of a few
# hundred terms stay below this.
TOLERANCE = 1e-3


def export_model(model: nn.Module, export: Export, store: ArtifactStore) -> tuple[ArtifactRef, int]:
    """-> (the file in the store, its opset). Moves the model to the CPU. AttemptFailed
    export_mismatch if the file computes something else than torch."""
    model = model.to("cpu").eval()
    with TemporaryDirectory(prefix="headrace-export-") as folder:
        path = Path(folder) / "model.onnx"
        _write(model, export, path)
        proto = onnx.load(path)
        onnx.checker.check_model(proto, full_check=True)
        _compare(model, export, proto)
        return store.put_file(path, media_type=MEDIA_TYPE), proto.opset_import[0].version


def _write(model: nn.Module, export: Export, path: Path) -> None:
    names = {name for axes in export.dynamic for name in axes.values()}
    dimensions = {name: torch.export.Dim(name, min=1, max=65_536) for name in names}
    if "length" in dimensions:
        dimensions["length"] = torch.export.Dim("length", min=1, max=export.examples[0].shape[1])
    shapes = tuple({axis: dimensions[name] for axis, name in axes.items()} for axes in export.dynamic)
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()), torch.no_grad():
        warnings.simplefilter("ignore")
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        program = torch.onnx.export(
            model,
            _own_examples(export.examples),
            dynamo=True,
            input_names=[spec.name for spec in export.inputs],
            output_names=[spec.name for spec in export.outputs],
            dynamic_shapes=shapes,
            verbose=False,
        )
        if program is None:
            raise AttemptFailed("export_mismatch", "torch made no ONNX program")
        program.save(str(path), external_data=False)


def _compare(model: nn.Module, export: Export, proto: onnx.ModelProto) -> None:
    """Compare on all rows, on one row, and on half the length. So a dimension that the export has
    made constant by accident is found."""
    evaluator = ReferenceEvaluator(proto)
    names = [spec.name for spec in export.inputs]
    samples = [export.examples, tuple(example[:1] for example in export.examples)]
    if all(1 in axes for axes in export.dynamic):
        samples.append(tuple(example[:, : (example.shape[1] + 1) // 2] for example in export.examples))
    for sample in samples:
        with torch.no_grad():
            wanted = model(*sample).numpy()
        feed = {name: example.numpy() for name, example in zip(names, sample, strict=True)}
        [*outputs] = evaluator.run(None, feed)
        found = np.asarray(outputs[0])
        if found.shape != wanted.shape:
            raise AttemptFailed("export_mismatch", "the exported model gives another shape than the trained one")
        tolerance = TOLERANCE * max(export.unit, float(np.abs(wanted - export.offset).max()))
        difference = float(np.abs(wanted - found).max())
        if not difference <= tolerance:
            message = f"the exported model differs from the trained one by {difference:.3g}"
            raise AttemptFailed("export_mismatch", message)
        if export.classes_axis is not None and not _agree(wanted, found, export.classes_axis, tolerance):
            raise AttemptFailed("export_mismatch", "the exported model names other classes than the trained one")


def _agree(wanted: NDArray[np.float32], found: NDArray[np.float32], axis: int, tolerance: float) -> bool:
    """Whether both choose the same class wherever one wins by more than a rounding error."""
    chosen = np.expand_dims(found.argmax(axis), axis)
    return bool((wanted.max(axis, keepdims=True) - np.take_along_axis(wanted, chosen, axis) <= 2 * tolerance).all())


def _own_examples(examples: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """With a single row, torch.export would make the batch dimension constant. Given one tensor for two inputs, it
    would read the same one for both."""
    return tuple(torch.cat([example, example]) if len(example) == 1 else example.clone() for example in examples)
