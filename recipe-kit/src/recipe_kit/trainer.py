"""A training loop that recipes may use: step, report, validate, save.

Knows steps and epochs, not what is learned.
"""

import hashlib
import math
import time
from collections.abc import Callable
from typing import Any

import torch
from shared_schemas.errors import AttemptFailed
from shared_schemas.events import Measured, Progressed
from torch import Tensor, nn

from recipe_kit.checkpoint import TrainState, Vocabulary
from recipe_kit.context import Context, StoppedEarlyError
from recipe_kit.optimiser import Plan, adamw, learning_rate

GRADIENT_NORM = 1.0
# Metrics on held-out rows are computed after an epoch, at most this many times in a run.
VALIDATIONS = 20
# The shortest time between two reports of progress.
PROGRESS_S = 0.1
# For these headline metrics the highest value is the best, and for any other the lowest.
HIGHER_IS_BETTER = frozenset({"accuracy", "auc", "balanced_accuracy", "f1", "precision", "r2", "recall"})


class Trainer:
    """Trains `model` with AdamW in batches of rows. The seed and the epoch decide their order.

    It moves the model to the context's device.

    n_rows: how many rows to train on.
    loss: indices of training rows, int64 (B,) -> their mean loss, a scalar.
    evaluate: () -> metrics on held-out rows, by name. It is called in eval mode without gradients,
        and must not draw random numbers, or a resumed run would differ.
    headline: the name of the metric that decides which checkpoint is the best: the highest value if
        it is in HIGHER_IS_BETTER, else the lowest.
    vocabulary: what gives the weights their meaning.
    tokens_per_row: to report tokens per second; 0 for a model without tokens.
    """

    def __init__(
        self,
        context: Context[Any],
        plan: Plan,
        model: nn.Module,
        *,
        n_rows: int,
        loss: Callable[[Tensor], Tensor],
        evaluate: Callable[[], dict[str, float | None]],
        headline: str,
        vocabulary: Vocabulary,
        tokens_per_row: int = 0,
    ) -> None:
        self._context, self._plan, self._model = context, plan, model.to(context.device)
        self._n_rows, self._loss, self._evaluate, self._headline = n_rows, loss, evaluate, headline
        self._vocabulary, self._tokens_per_row = vocabulary, tokens_per_row
        self._optimiser = adamw(model, plan)
        self._batches = math.ceil(n_rows / plan.batch_size)
        self._validate_every = math.ceil(plan.epochs / VALIDATIONS)
        self._saved_step, self._saved_at, self._reported_at = 0, -math.inf, -math.inf
        self.total = min(plan.epochs * self._batches, plan.max_steps or plan.epochs * self._batches)

    def fit(self) -> tuple[TrainState, dict[str, float | None]]:
        """Train to the end, from the checkpoint if there is one, and save a checkpoint of the end.
        -> (the state at the end, the last metrics on held-out rows). StoppedEarlyError if asked to
        stop, AttemptFailed training_diverged if the loss is not finite, checkpoint_mismatch."""
        state = self._context.restore(self._model, self._optimiser)
        self._context.begin(total_steps=self.total)
        self._saved_at, self._saved_step = time.monotonic(), state.step
        while state.step < self.total:
            order = self._order(state.epoch)
            while state.batch < self._batches and state.step < self.total:
                self._step(state, order)
                if self._context.should_stop():
                    self._checkpoint(state)
                    raise StoppedEarlyError
                if self._is_due() and not self._validates_next(state):
                    self._checkpoint(state)
            if state.batch >= self._batches:
                state.epoch, state.batch = state.epoch + 1, 0
            if state.step < self.total and state.epoch % self._validate_every == 0:
                self._validate(state)
        # The checkpoint of the end is for jobs that start from this one, and for this job if its
        # worker dies during the export.
        return state, self._validate(state)

    def _is_due(self) -> bool:
        """Whether the next checkpoint is due."""
        return time.monotonic() - self._saved_at >= self._plan.checkpoint_every_s

    def _validates_next(self, state: TrainState) -> bool:
        """Whether a validation follows this step. The checkpoint then waits for it, to include its
        metrics."""
        ends_epoch = state.batch >= self._batches and (state.epoch + 1) % self._validate_every == 0
        return ends_epoch or state.step >= self.total

    def _step(self, state: TrainState, order: Tensor) -> None:
        plan, began = self._plan, time.monotonic()
        size = plan.batch_size
        rows = order[state.batch * size : (state.batch + 1) * size]
        rate = learning_rate(plan, state.step, self.total)
        for group in self._optimiser.param_groups:
            group["lr"] = rate
        self._model.train()
        self._optimiser.zero_grad(set_to_none=True)
        loss = self._loss(rows)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self._model.parameters(), GRADIENT_NORM)
        value = float(loss.detach())
        if not math.isfinite(value):
            raise AttemptFailed("training_diverged", f"the loss is not finite after {state.step} steps")
        self._optimiser.step()
        state.step, state.batch = state.step + 1, state.batch + 1
        self._report_step(state, value, rate, len(rows), time.monotonic() - began)

    def _report_step(self, state: TrainState, loss: float, rate: float, n_rows: int, took_s: float) -> None:
        values: dict[str, float | None] = {"loss": loss, "learning_rate": rate, "steps_per_s": 1 / max(took_s, 1e-9)}
        if self._tokens_per_row:
            values["tokens_per_s"] = n_rows * self._tokens_per_row / max(took_s, 1e-9)
        self._context.report(Measured(split="train", step=state.step, values=values))
        fraction = state.step / self.total
        epoch = (state.step - 1) // self._batches + 1
        now = time.monotonic()
        if now - self._reported_at >= PROGRESS_S or state.step == self.total:
            self._reported_at = now
            self._context.report(Progressed(fraction=fraction, step=state.step, total=self.total, epoch=epoch))

    def _validate(self, state: TrainState) -> dict[str, float | None]:
        self._model.eval()
        with torch.no_grad():
            metrics = {
                name: value if value is None or math.isfinite(value) else None
                for name, value in self._evaluate().items()
            }
        self._context.report(Measured(split="validation", step=state.step, values=metrics))
        is_best = self._is_best(state, metrics)
        if is_best or self._is_due() or (state.step >= self.total and self._saved_step != state.step):
            self._checkpoint(state, metrics, is_best=is_best)
        return metrics

    def _is_best(self, state: TrainState, metrics: dict[str, float | None]) -> bool:
        name, best = self._headline, state.best
        value = metrics.get(name)
        if value is None:
            return False
        is_best = best is None or (value > best if name in HIGHER_IS_BETTER else value < best)
        if is_best:
            state.best = value
        return is_best

    def _checkpoint(
        self, state: TrainState, metrics: dict[str, float | None] | None = None, *, is_best: bool = False
    ) -> None:
        self._context.save(state, self._model, self._optimiser, self._vocabulary, metrics=metrics, is_best=is_best)
        self._saved_step, self._saved_at = state.step, time.monotonic()

    def _order(self, epoch: int) -> Tensor:
        """(n_rows,) int64: the order of the rows in an epoch, which the seed and the epoch
        decide."""
        seed = hashlib.sha256(f"{self._context.seed} {epoch}".encode()).digest()[:8]
        generator = torch.Generator().manual_seed(int.from_bytes(seed, "big", signed=True))
        return torch.randperm(self._n_rows, generator=generator)


def weights_digest(model: nn.Module) -> str:
    """sha256 over the names, shapes, dtypes and bytes of all parameters and buffers, sorted by
    name."""
    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        tensor = value.detach().cpu().contiguous()
        digest.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()
