"""A model that is ready to answer: its manifest, its engine and, for texts, its codec. It knows no other model."""

from pathlib import Path

import anyio
import msgspec
from shared_schemas.artifacts import ArtifactRef
from shared_schemas.errors import AttemptFailed, HeadraceError
from shared_schemas.models import Model, ModelManifest, ModelRef, Task
from shared_schemas.store.files import ArtifactCorrupt, ArtifactMissing, ArtifactStore

from inference_worker.engines.batching import Engine
from inference_worker.engines.session import OrtSession
from inference_worker.inputs import Features
from inference_worker.onnx_file import check_is_one_file
from inference_worker.settings import Settings
from inference_worker.tensors import example_row
from inference_worker.text import TextCodec

_WARM_UP_S = 60.0
_INTEGERS, _FLOATS = frozenset({"int64"}), frozenset({"float32", "float64"})
_TEXT_INPUTS = {"input_ids": _INTEGERS, "attention_mask": _INTEGERS}
_SIGNATURES: dict[Task, tuple[dict[str, frozenset[str]], str]] = {
    "text-classification": (_TEXT_INPUTS, "logits"),
    "text-generation": (_TEXT_INPUTS, "logits"),
    "tabular-classification": ({"features": _FLOATS}, "logits"),
    "tabular-regression": ({"features": _FLOATS}, "prediction"),
}


class LoadedModel(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    ref: ModelRef
    manifest: ModelManifest
    session: OrtSession
    engine: Engine
    codec: TextCodec | None
    features: Features | None

    async def warm_up(self) -> None:
        """One run, so that the first job does not pay for allocations. AttemptFailed model_unsupported if the
        model cannot do it."""
        row = example_row(self.session.inputs, longest=self.manifest.context_length)
        try:
            with anyio.fail_after(_WARM_UP_S):
                outputs = await self.engine.infer(row)
        except (HeadraceError, TimeoutError) as error:
            raise AttemptFailed("model_unsupported", "the model failed its first run") from error
        n_classes = len(self.manifest.labels)
        if self.manifest.task.endswith("classification") and outputs["logits"].shape != (n_classes,):
            raise AttemptFailed("model_unsupported", "the model's output does not fit its labels")
        if self.manifest.task == "tabular-regression" and outputs["prediction"].size != 1:
            raise AttemptFailed("model_unsupported", "the model's output is not one number")

    def require_codec(self) -> tuple[TextCodec, int]:
        """-> (codec, context length in tokens) of a text model."""
        if self.codec is None or self.manifest.context_length is None:
            raise AttemptFailed("model_unsupported", "the model takes no text")
        return self.codec, self.manifest.context_length

    def require_features(self) -> Features:
        if self.features is None:
            raise AttemptFailed("model_unsupported", "the model takes no features")
        return self.features


def open_model(model: Model, store: ArtifactStore, settings: Settings) -> LoadedModel:
    """Verify the files and load them; blocking. AttemptFailed: model_unavailable (retryable), model_corrupt,
    model_unsupported."""
    manifest = model.manifest
    path = _verified(store, manifest.onnx)
    check_is_one_file(path)
    codec = None
    if manifest.task.startswith("text"):
        if manifest.tokenizer is None or manifest.context_length is None:
            raise AttemptFailed("model_unsupported", "the model was published without a tokenizer or context length")
        codec = TextCodec(_verified(store, manifest.tokenizer))
        if manifest.task == "text-generation" and not codec.is_byte_level:
            raise AttemptFailed("model_unsupported", "generation needs a byte-level tokenizer")
    session = OrtSession(path, device=settings.device, intra_op_threads=settings.intra_op_threads)
    _check_signature(session, manifest)
    engine = Engine(session, settings.batching, run_timeout_s=settings.run_timeout_s)
    dtype = next((spec.dtype for spec in session.inputs if spec.name == "features"), None)
    features = None if dtype is None else Features(manifest, dtype)
    return LoadedModel(ref=model.ref, manifest=manifest, session=session, engine=engine, codec=codec, features=features)


def _verified(store: ArtifactStore, ref: ArtifactRef) -> Path:
    try:
        return store.verify(ref)
    except (ArtifactMissing, OSError) as error:
        # On a shared file system the file may not have arrived yet.
        raise AttemptFailed("model_unavailable", "the model's file is not in the store", retryable=True) from error
    except ArtifactCorrupt as error:
        raise AttemptFailed("model_corrupt", "the model's file does not have the digest it is named by") from error


def _check_signature(session: OrtSession, manifest: ModelManifest) -> None:
    inputs, output = _SIGNATURES[manifest.task]
    given = {spec.name: spec.dtype for spec in session.inputs}
    if given.keys() != inputs.keys() or any(dtype not in inputs[name] for name, dtype in given.items()):
        raise AttemptFailed("model_unsupported", f"a {manifest.task} model takes {', '.join(inputs)}")
    if output not in {spec.name for spec in session.outputs}:
        raise AttemptFailed("model_unsupported", f"a {manifest.task} model has an output named {output}")
    features = next((spec for spec in session.inputs if spec.name == "features"), None)
    if features is not None and features.shape[1:] != (len(manifest.features),):
        raise AttemptFailed("model_unsupported", "the model's input does not fit its features")
