"""Saves the whole state of a run in one safetensors file, and restores it.

The state is the model, the optimiser, the random generators and the place in the data. On a CPU, a
run that resumes from it gives the same bits as a run that never stopped. Nothing is pickled:
tensors are safetensors, and the rest is JSON in the metadata of the file. Knows no loop and no
recipe.
"""

import random
from typing import Any

import msgspec
import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from shared_schemas.artifacts import ArtifactRef
from shared_schemas.errors import AttemptFailed
from shared_schemas.job import Checkpoint
from shared_schemas.models import Task
from shared_schemas.store.files import ArtifactCorrupt, ArtifactMissing, ArtifactStore
from torch import Tensor, nn

from recipe_kit.series import SeriesState

MEDIA_TYPE = "application/vnd.safetensors"
_LINES = "series.lines"


class Vocabulary(msgspec.Struct, frozen=True, kw_only=True):
    """What gives weights their meaning. A run that starts from the weights of another must use it.

    tokenizer: the text of a tokenizer.json; None for a model without texts.
    labels, features: names, in the order of the model's outputs and inputs.
    target, text_column: names of columns.
    hyperparameters: as the job gave them, without the recipe's defaults.

    model_type, task, target and text_column are None if they do not apply, or if an older version
    saved the checkpoint.
    """

    tokenizer: str | None = None
    labels: tuple[str, ...] = ()
    features: tuple[str, ...] = ()
    model_type: str | None = None
    task: Task | None = None
    target: str | None = None
    text_column: str | None = None
    hyperparameters: dict[str, Any] = {}


class TrainState(msgspec.Struct, kw_only=True):
    """The place of a run in its steps and its data.

    step: optimiser steps done.
    epoch, batch: the next batch to train on, both from 0. The seed and the epoch decide the order
        of the rows.
    best: the value of the headline metric at the best checkpoint so far; None before the first.
    """

    step: int = 0
    epoch: int = 0
    batch: int = 0
    best: float | None = None


class CheckpointMetadata(msgspec.Struct, kw_only=True):
    """What a checkpoint has besides tensors. owner: the attempt that saved it; two attempts never
    save the same file. python: random.getstate(). numpy_*: position and Gaussian cache of numpy's
    global generator."""

    vocabulary: Vocabulary = msgspec.field(name="learned")
    state: TrainState
    owner: str = ""
    series: SeriesState = msgspec.field(default_factory=SeriesState)
    python: tuple[int, tuple[int, ...], float | None]
    numpy_position: int
    numpy_has_gauss: int
    numpy_gauss: float


def save_checkpoint(
    store: ArtifactStore,
    state: TrainState,
    model: nn.Module,
    optimiser: torch.optim.Optimizer,
    vocabulary: Vocabulary,
    *,
    series: tuple[SeriesState, bytes],
    owner: str,
) -> Checkpoint:
    """Save all that a run needs to resume. vocabulary: what gives the weights their meaning. series: from
    `Series.saved`. owner: unique to the attempt. -> the step and the file in the store."""
    series_state, lines = series
    generator = np.random.get_state(legacy=False)  # the global one, which a user's recipe may use
    metadata = CheckpointMetadata(
        vocabulary=vocabulary,
        state=state,
        owner=owner,
        series=series_state,
        python=random.getstate(),
        numpy_position=generator["state"]["pos"],
        numpy_has_gauss=generator["has_gauss"],
        numpy_gauss=generator["gauss"],
    )
    tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
    for index, slots in optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser.{index}.{name}": torch.as_tensor(value) for name, value in slots.items()}
    tensors["random.torch"] = torch.get_rng_state()
    tensors["random.numpy"] = torch.from_numpy(generator["state"]["key"].astype(np.int64))
    if lines:
        tensors[_LINES] = torch.frombuffer(bytearray(lines), dtype=torch.uint8)
    if torch.cuda.is_available():
        tensors["random.cuda"] = torch.cuda.get_rng_state()
    data = save(
        {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()},
        metadata={"rest": msgspec.json.encode(metadata).decode()},
    )
    return Checkpoint(step=state.step, artifact=store.put_bytes(data, media_type=MEDIA_TYPE))


class LoadedCheckpoint:
    """A checkpoint in memory."""

    def __init__(self, tensors: dict[str, Tensor], metadata: CheckpointMetadata) -> None:
        self._tensors, self._metadata = tensors, metadata

    @property
    def vocabulary(self) -> Vocabulary:
        """What gives the weights their meaning."""
        return self._metadata.vocabulary

    @property
    def series(self) -> tuple[SeriesState, bytes]:
        """What `Series.saved` returned: the state, and the lines that no file has yet."""
        lines = self._tensors.get(_LINES)
        return self._metadata.series, b"" if lines is None else lines.numpy().tobytes()

    def restore(
        self, model: nn.Module, optimiser: torch.optim.Optimizer, *, device: torch.device, starts_new_run: bool
    ) -> TrainState:
        """Restore the model and the optimiser; if the run is the same, also the random generators.

        device: where the model is. starts_new_run: the checkpoint belongs to another run. -> where
        to go on, which is step 0 for a new run. AttemptFailed checkpoint_mismatch if the model has
        other weights."""
        tensors = self._tensors
        weights = {name.removeprefix("model."): value for name, value in tensors.items() if name.startswith("model.")}
        try:
            model.load_state_dict(weights)
            _load_optimiser(optimiser, tensors)
        except (RuntimeError, KeyError, ValueError):
            raise AttemptFailed(
                "checkpoint_mismatch", "the checkpoint is of another model: data or hyperparameters differ"
            ) from None
        if starts_new_run:
            return TrainState()
        self._restore_generators(device)
        return self._metadata.state

    def _restore_generators(self, device: torch.device) -> None:
        tensors, metadata = self._tensors, self._metadata
        torch.set_rng_state(tensors["random.torch"])
        if "random.cuda" in tensors and device.type == "cuda":
            torch.cuda.set_rng_state(tensors["random.cuda"])
        random.setstate(metadata.python)
        np.random.set_state(
            {
                "bit_generator": "MT19937",
                "state": {"key": tensors["random.numpy"].numpy().astype(np.uint32), "pos": metadata.numpy_position},
                "has_gauss": metadata.numpy_has_gauss,
                "gauss": metadata.numpy_gauss,
            }
        )


def read_checkpoint(store: ArtifactStore, ref: ArtifactRef) -> LoadedCheckpoint:
    """Verify and read a checkpoint. AttemptFailed checkpoint_not_found, checkpoint_corrupt."""
    try:
        path = store.verify(ref)
        with safe_open(path, framework="pt") as file:
            metadata = msgspec.json.decode(file.metadata()["rest"], type=CheckpointMetadata)
        return LoadedCheckpoint(load_file(path), metadata)
    except ArtifactMissing:
        raise AttemptFailed("checkpoint_not_found", "the checkpoint's file is not in the store") from None
    except (ArtifactCorrupt, SafetensorError, msgspec.MsgspecError, KeyError, TypeError):
        raise AttemptFailed("checkpoint_corrupt", "the checkpoint's file is damaged") from None


def _load_optimiser(optimiser: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    slots: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        if name.startswith("optimiser."):
            _, index, slot = name.split(".", 2)
            slots.setdefault(int(index), {})[slot] = value
    optimiser.load_state_dict({"state": slots, "param_groups": optimiser.state_dict()["param_groups"]})
