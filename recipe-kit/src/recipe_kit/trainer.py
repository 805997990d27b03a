"""The loop: step, report, validate, checkpoint. Knows steps and epochs, not what is being learned."""

import hashlib
import math
import time
from collections.abc import Callable

import torch
from shared_schemas.errors import AttemptFailed
from shared_schemas.events import Checkpointed, JobEvent, Measured, Progressed
from shared_schemas.job import Checkpoint
from torch import Tensor, nn

from recipe_kit.checkpoint import TrainState
from recipe_kit.optimiser import learning_rate
from recipe_kit.recipe import HIGHER_IS_BETTER, Prepared

GRADIENT_NORM = 1.0
# Held-out rows are looked at after each epoch, but no more often than this in all.
VALIDATIONS = 20
# Whoever supervises hears at least so often that steps are made.
PROGRESS_S = 0.1


class StoppedEarlyError(Exception):
    """The run was asked to stop; its last checkpoint holds all of it."""


class Trainer:
    """report: takes events. save: makes a checkpoint of a state. should_stop: looked at after each step."""

    def __init__(
        self,
        prepared: Prepared,
        optimiser: torch.optim.Optimizer,
        *,
        device: torch.device,
        seed: int,
        checkpoint_every_s: float,
        report: Callable[[JobEvent], None],
        save: Callable[[TrainState], Checkpoint],
        should_stop: Callable[[], bool],
    ) -> None:
        self._prepared, self._optimiser, self._device, self._seed = prepared, optimiser, device, seed
        self._report, self._save, self._should_stop = report, save, should_stop
        self._checkpoint_every_s = checkpoint_every_s
        plan = prepared.plan
        self._batches = math.ceil(prepared.n_rows / plan.batch_size)
        self._validate_every = math.ceil(plan.epochs / VALIDATIONS)
        self._saved_step, self._saved_at, self._told_at = 0, -math.inf, -math.inf
        self.total = min(plan.epochs * self._batches, plan.max_steps or plan.epochs * self._batches)

    def fit(self, state: TrainState) -> dict[str, float | None]:
        """Train from `state` to the end, and keep a checkpoint of that. -> the last metrics on held-out rows.
        StoppedEarlyError when asked to stop."""
        self._saved_at, self._saved_step = time.monotonic(), state.step
        while state.step < self.total:
            order = self._order(state.epoch)
            while state.batch < self._batches and state.step < self.total:
                self._step(state, order)
                if self._should_stop():
                    self._checkpoint(state)
                    raise StoppedEarlyError
                if self._is_due() and not self._is_looked_at(state):
                    self._checkpoint(state)
            if state.batch >= self._batches:
                state.epoch, state.batch = state.epoch + 1, 0
            if state.step < self.total and state.epoch % self._validate_every == 0:
                self._validate(state)
        # Others may go on from the end, and so may this job if it is lost while it exports.
        return self._validate(state)

    def _is_due(self) -> bool:
        return time.monotonic() - self._saved_at >= self._checkpoint_every_s

    def _is_looked_at(self, state: TrainState) -> bool:
        """Whether the metrics on held-out rows come right after this step, for the checkpoint to have them."""
        ends_epoch = state.batch >= self._batches and (state.epoch + 1) % self._validate_every == 0
        return ends_epoch or state.step >= self.total

    def _step(self, state: TrainState, order: Tensor) -> None:
        prepared, began = self._prepared, time.monotonic()
        size = prepared.plan.batch_size
        rows = order[state.batch * size : (state.batch + 1) * size]
        rate = learning_rate(prepared.plan, state.step, self.total)
        for group in self._optimiser.param_groups:
            group["lr"] = rate
        prepared.model.train()
        self._optimiser.zero_grad(set_to_none=True)
        loss = prepared.loss(rows, self._device)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(prepared.model.parameters(), GRADIENT_NORM)
        value = float(loss.detach())
        if not math.isfinite(value):
            raise AttemptFailed("training_diverged", f"the loss is not finite after {state.step} steps")
        self._optimiser.step()
        state.step, state.batch = state.step + 1, state.batch + 1
        self._tell_of_step(state, value, rate, len(rows), time.monotonic() - began)

    def _tell_of_step(self, state: TrainState, loss: float, rate: float, n_rows: int, took_s: float) -> None:
        values: dict[str, float | None] = {"loss": loss, "learning_rate": rate, "steps_per_s": 1 / max(took_s, 1e-9)}
        if self._prepared.tokens_per_row:
            values["tokens_per_s"] = n_rows * self._prepared.tokens_per_row / max(took_s, 1e-9)
        self._report(Measured(split="train", step=state.step, values=values))
        fraction = state.step / self.total
        epoch = (state.step - 1) // self._batches + 1
        now = time.monotonic()
        if now - self._told_at >= PROGRESS_S or state.step == self.total:
            self._told_at = now
            self._report(Progressed(fraction=fraction, step=state.step, total=self.total, epoch=epoch))

    def _validate(self, state: TrainState) -> dict[str, float | None]:
        self._prepared.model.eval()
        with torch.no_grad():
            metrics = {
                name: value if value is None or math.isfinite(value) else None
                for name, value in self._prepared.evaluate(self._device).items()
            }
        self._report(Measured(split="validation", step=state.step, values=metrics))
        is_best = self._is_best(state, metrics)
        if is_best or self._is_due() or (state.step >= self.total and self._saved_step != state.step):
            self._checkpoint(state, metrics, is_best=is_best)
        return metrics

    def _is_best(self, state: TrainState, metrics: dict[str, float | None]) -> bool:
        name = self._prepared.headline
        value, best = metrics.get(name), state.best
        if value is None:
            return False
        is_best = best is None or (value > best if name in HIGHER_IS_BETTER else value < best)
        if is_best:
            state.best = value
        return is_best

    def _checkpoint(
        self, state: TrainState, metrics: dict[str, float | None] | None = None, *, is_best: bool = False
    ) -> None:
        checkpoint = self._save(state)
        self._saved_step, self._saved_at = checkpoint.step, time.monotonic()
        self._report(
            Checkpointed(step=checkpoint.step, artifact=checkpoint.artifact, metrics=metrics or {}, best=is_best)
        )

    def _order(self, epoch: int) -> Tensor:
        """The rows of an epoch, shuffled by the seed and its number."""
        seed = hashlib.sha256(f"{self._seed} {epoch}".encode()).digest()[:8]
        generator = torch.Generator().manual_seed(int.from_bytes(seed, "big", signed=True))
        return torch.randperm(self._prepared.n_rows, generator=generator)


def weights_digest(model: nn.Module) -> str:
    """sha256 over names, shapes and bytes of all parameters and buffers, in order of their names."""
    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        tensor = value.detach().cpu().contiguous()
        digest.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()
