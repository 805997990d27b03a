"""What a recipe is given for one run: the job, its data, a device, and ways to report, to save and to be stopped.

A worker makes one for each attempt. A test of a recipe makes one itself. Knows no process and no queue.
"""

from collections.abc import Callable
from typing import Generic, Literal, TypeVar

import msgspec
import torch
from shared_schemas.artifacts import ArtifactRef
from shared_schemas.events import Checkpointed, JobEvent, Logged, Measured, Progressed
from shared_schemas.specs import TrainingSpec
from shared_schemas.store.files import ArtifactStore
from torch import nn

from recipe_kit.checkpoint import LoadedCheckpoint, TrainState, Vocabulary, save_checkpoint
from recipe_kit.data import Data
from recipe_kit.series import Series

H = TypeVar("H", bound=msgspec.Struct)

METRIC_EVENTS = 1000
# Of a run that does not say how many steps it has: for each metric event that is told at once.
_STEPS_AN_EVENT = 100


class StoppedEarlyError(Exception):
    """The run was asked to stop; its last checkpoint holds all of it."""


class Context(Generic[H]):
    """One run of a recipe.

    spec: the job; of a run that starts from the weights of another job, with all that those weights decide.
    submitted: the job as it was submitted. hyperparameters: those of the spec, as the recipe's Struct. data: its files.
    device: where to train. seed: of everything random; the global generators have it already. checkpoint: what the run
    goes on from, None at a start. starts_new_run: the checkpoint is of another job, whose weights and optimiser are the
    start of a run of our own.

    store: where checkpoints and series of metrics go. send: takes the events for the timeline. metric_events: see
    series.Series. owner: unique to the attempt, so that two which compute the same save files of other names.
    """

    def __init__(
        self,
        *,
        spec: TrainingSpec,
        hyperparameters: H,
        data: Data,
        store: ArtifactStore,
        seed: int,
        device: torch.device,
        send: Callable[[JobEvent], None],
        should_stop: Callable[[], bool],
        submitted: TrainingSpec | None = None,
        checkpoint: LoadedCheckpoint | None = None,
        starts_new_run: bool = False,
        metric_events: int = METRIC_EVENTS,
        owner: str = "",
    ) -> None:
        self.spec, self.submitted = spec, submitted or spec
        self.hyperparameters, self.data, self.device, self.seed = hyperparameters, data, device, seed
        self.checkpoint, self.starts_new_run = checkpoint, starts_new_run
        self.should_stop = should_stop
        self._store, self._send, self._owner, self._metric_events = store, send, owner, metric_events
        self._made_series: Series | None = None

    @property
    def vocabulary(self) -> Vocabulary | None:
        """What the weights belong with that the run starts from."""
        return None if self.checkpoint is None else self.checkpoint.vocabulary

    def log(self, line: str, level: Literal["info", "warning", "error"] = "info") -> None:
        self._send(Logged(line=line, level=level))

    def begin(self, *, total_steps: int) -> None:
        """Say how many optimiser steps the whole run has, before anything is reported: metrics are thinned by that."""
        state, lines = (None, b"") if self.checkpoint is None or self.starts_new_run else self.checkpoint.series
        self._made_series = Series(
            self._store, self._send, most=self._metric_events, total=total_steps, state=state, rest=lines
        )

    def restore(self, model: nn.Module, optimiser: torch.optim.Optimizer) -> TrainState:
        """Put back what the checkpoint has: the weights, which are on the device, and the optimiser; of the same run
        also the random generators. -> where to go on. AttemptFailed checkpoint_mismatch."""
        if self.checkpoint is None:
            return TrainState()
        return self.checkpoint.restore(model, optimiser, device=self.device, starts_new_run=self.starts_new_run)

    def report(self, event: Measured | Progressed) -> None:
        """Metrics of a step, or how far the run is. The supervisor ends a run that reports nothing for long."""
        if isinstance(event, Measured):
            self._series.add(event)
        else:
            self._send(event)

    def save(
        self,
        state: TrainState,
        model: nn.Module,
        optimiser: torch.optim.Optimizer,
        vocabulary: Vocabulary,
        *,
        metrics: dict[str, float | None] | None = None,
        is_best: bool = False,
    ) -> None:
        """Keep a checkpoint, from which any worker can go on. vocabulary: what the weights belong with. metrics: on
        held-out rows, where they are of this step. is_best: of the checkpoints so far."""
        whole = msgspec.structs.replace(
            vocabulary,
            model_type=self.spec.model_type,
            text_column=vocabulary.text_column or self.spec.text_column,
            hyperparameters=self.spec.hyperparameters,
        )
        saved = save_checkpoint(
            self._store, state, model, optimiser, whole, series=self._series.saved(), owner=self._owner
        )
        self._send(Checkpointed(step=saved.step, artifact=saved.artifact, metrics=metrics or {}, best=is_best))

    def end(self) -> ArtifactRef | None:
        """Report the metrics that are still held back. -> the file of all that was measured, None where the timeline
        has all of it. Called once, by whoever called the recipe."""
        return self._series.end()

    @property
    def _series(self) -> Series:
        if self._made_series is None:
            self.begin(total_steps=_STEPS_AN_EVENT * self._metric_events)
        assert self._made_series is not None  # noqa: S101 - begin made it
        return self._made_series
