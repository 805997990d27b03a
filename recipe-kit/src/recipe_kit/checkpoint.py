"""A run's whole state in one safetensors file: model, optimiser, random generators, and the place in the data.

A run that goes on from it is, on a CPU, bit for bit the run that never stopped. Nothing is pickled: tensors are
safetensors, the rest is JSON in the file's metadata.
"""

import random

import msgspec
import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from shared_schemas.artifacts import ArtifactRef
from shared_schemas.errors import AttemptFailed
from shared_schemas.job import Checkpoint
from shared_schemas.specs import TrainingSpec
from shared_schemas.store.files import ArtifactCorrupt, ArtifactMissing, ArtifactStore
from torch import Tensor, nn

from recipe_kit.recipe import Learned, Prepared, learned_of
from recipe_kit.series import SeriesState

MEDIA_TYPE = "application/vnd.safetensors"
_LINES = "series.lines"


class TrainState(msgspec.Struct, kw_only=True):
    """step: optimiser steps done. epoch, batch: the next batch to train on. The order of the rows follows from the
    seed and the epoch. best: the headline metric of the best checkpoint so far."""

    step: int = 0
    epoch: int = 0
    batch: int = 0
    best: float | None = None


class _Rest(msgspec.Struct, kw_only=True):
    """owner: of the attempt that saved it, which makes the file its own. python: random.getstate(); numpy: position and
    Gaussian cache of the legacy generator."""

    learned: Learned
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
    prepared: Prepared,
    optimiser: torch.optim.Optimizer,
    spec: TrainingSpec,
    series: tuple[SeriesState, bytes],
    owner: str,
) -> Checkpoint:
    """spec: with all that the run was made of, as those that go on from it must have it."""
    series_state, lines = series
    generator = np.random.get_state(legacy=False)  # the global one, which recipes of users may draw from
    rest = _Rest(
        learned=learned_of(prepared, spec),
        state=state,
        owner=owner,
        series=series_state,
        python=random.getstate(),
        numpy_position=generator["state"]["pos"],
        numpy_has_gauss=generator["has_gauss"],
        numpy_gauss=generator["gauss"],
    )
    tensors = {f"model.{name}": value for name, value in prepared.model.state_dict().items()}
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
        metadata={"rest": msgspec.json.encode(rest).decode()},
    )
    return Checkpoint(step=state.step, artifact=store.put_bytes(data, media_type=MEDIA_TYPE))


class Saved:
    """A checkpoint that has been read. learned: what its weights belong with."""

    def __init__(self, tensors: dict[str, Tensor], rest: _Rest) -> None:
        self._tensors, self._rest = tensors, rest

    @property
    def learned(self) -> Learned:
        return self._rest.learned

    @property
    def series(self) -> tuple[SeriesState, bytes]:
        """As series.Series.saved gave it."""
        lines = self._tensors.get(_LINES)
        return self._rest.series, b"" if lines is None else lines.numpy().tobytes()

    def restore(
        self, model: nn.Module, optimiser: torch.optim.Optimizer, *, device: torch.device, starts_new_run: bool
    ) -> TrainState:
        """Put the model, which is on `device`, and the optimiser back; of the same run also the generators and the
        place in the data. AttemptFailed checkpoint_mismatch."""
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
        return self._rest.state

    def _restore_generators(self, device: torch.device) -> None:
        tensors, rest = self._tensors, self._rest
        torch.set_rng_state(tensors["random.torch"])
        if "random.cuda" in tensors and device.type == "cuda":
            torch.cuda.set_rng_state(tensors["random.cuda"])
        random.setstate(rest.python)
        np.random.set_state(
            {
                "bit_generator": "MT19937",
                "state": {"key": tensors["random.numpy"].numpy().astype(np.uint32), "pos": rest.numpy_position},
                "has_gauss": rest.numpy_has_gauss,
                "gauss": rest.numpy_gauss,
            }
        )


def read_checkpoint(store: ArtifactStore, ref: ArtifactRef) -> Saved:
    """AttemptFailed checkpoint_not_found, checkpoint_corrupt."""
    try:
        path = store.verify(ref)
        with safe_open(path, framework="pt") as file:
            rest = msgspec.json.decode(file.metadata()["rest"], type=_Rest)
        return Saved(load_file(path), rest)
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
