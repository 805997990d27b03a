"""What a recipe is given for one run: the job, its data, a device, and ways to report and save.

A worker makes a context for each attempt. A test of a recipe makes one itself. Knows no process and
no queue.
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
# If a run does not say how many steps it has, it is assumed to have this many for each metric
# event.
_STEPS_PER_EVENT = 100


class StoppedEarlyError(Exception):
    """The run was asked to stop. Its last checkpoint holds all of its progress."""


class Context(Generic[H]):
    """One run of a recipe.

    For recipes:

    spec: the job. If it starts from the weights of another job, the spec includes what those
        weights decide.
    submitted: the spec as it was submitted.
    hyperparameters: those of the spec, as the recipe's Struct.
    data: the job's files.
    device: where to train.
    seed: of everything random. The global random generators of Python, numpy and torch are already
        seeded with it.
    checkpoint: where the run starts from; None if it starts with new weights.
    starts_new_run: the checkpoint belongs to another job, and only its weights and optimiser are
        used, at step 0.
    should_stop: call it after each step. Once it returns True, save a checkpoint and raise
        StoppedEarlyError.

    For whoever makes the context:

    store: of checkpoints and series of metrics.
    send: is called with each event for the timeline.
    metric_events: how many metric events of each split go to the timeline one by one, before they
        are thinned.
    owner: unique to the attempt. It is part of each checkpoint file, so two attempts never share
        one.
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
        """What gives the weights of the checkpoint their meaning; None if there is no checkpoint."""
        return None if self.checkpoint is None else self.checkpoint.vocabulary

    def log(self, line: str, level: Literal["info", "warning", "error"] = "info") -> None:
        """Add a line to the job's log."""
        self._send(Logged(line=line, level=level))

    def begin(self, *, total_steps: int) -> None:
        """Call this before the first report. total_steps: optimiser steps of the whole run,
        including those of earlier attempts. It decides how metrics are thinned."""
        state, lines = (None, b"") if self.checkpoint is None or self.starts_new_run else self.checkpoint.series
        self._made_series = Series(
            self._store, self._send, most=self._metric_events, total=total_steps, state=state, rest=lines
        )

    def restore(self, model: nn.Module, optimiser: torch.optim.Optimizer) -> TrainState:
        """Restore the model and the optimiser from the checkpoint; if it belongs to the same run,
        also the random generators. model: on the context's device. -> where to go on; step 0
        without a checkpoint, or with one of another job. AttemptFailed checkpoint_mismatch."""
        if self.checkpoint is None:
            return TrainState()
        return self.checkpoint.restore(model, optimiser, device=self.device, starts_new_run=self.starts_new_run)

    def report(self, event: Measured | Progressed) -> None:
        """Send metrics of a step, or how far the run is. The worker kills a run that sends nothing
        for longer than its stall timeout, 2 minutes by default."""
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
        """Save a checkpoint, from which any worker can resume.

        state: the steps that are done. vocabulary: what gives the weights their meaning. metrics: those on
        held-out rows, if they were measured at this step. is_best: whether this is the best
        checkpoint so far. The worker keeps the best and the newest few."""
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
        """Send the metrics that are still waiting. -> the file of all metrics; None if the timeline
        has all of them. Whoever called the recipe calls this, once."""
        return self._series.end()

    @property
    def _series(self) -> Series:
        if self._made_series is None:
            self.begin(total_steps=_STEPS_PER_EVENT * self._metric_events)
        assert self._made_series is not None  # noqa: S101 - begin made it
        return self._made_series
