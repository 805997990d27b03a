"""Tabular data: a multi-layer perceptron for classification or regression."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from shared_schemas.errors import DataRejected, SpecRejected
from shared_schemas.models import Task, TensorSpec
from shared_schemas.specs import TrainingSpec
from torch import Tensor, nn
from torch.nn import functional

from training_worker.recipes.labels import classes_of, encode, majority_accuracy, remarks_on
from training_worker.recipes.recipe import Export, Learned, Plan, n_parameters, plan_of, split_rows
from training_worker.tables import Table, label_column
from training_worker.targets import is_quantity

_DEFAULTS = Plan(epochs=60, batch_size=32, learning_rate=3e-3, weight_decay=0.01, warmup_fraction=0.05, max_steps=None)
_FEWEST_ROWS = 8
# What tables call the number of a row, which says nothing about it.
_ROW_NAMES = frozenset(("id", "index", "idx", "no", "nr", "row", "row_id", "rowid", "uuid"))


class Mlp(nn.Module):
    """(B, F) raw features -> logits (B, C), or (B,) in the target's own unit. Both scalings lie inside the graph."""

    def __init__(self, x_mean: Tensor, x_scale: Tensor, y_mean: Tensor, y_scale: Tensor, *, width: int, layers: int,
                 n_out: int, dropout: float, is_regression: bool) -> None:  # fmt: skip
        super().__init__()
        self.x_mean, self.x_scale = nn.Buffer(x_mean), nn.Buffer(x_scale)
        self.y_mean, self.y_scale = nn.Buffer(y_mean), nn.Buffer(y_scale)
        self.is_regression = is_regression
        sizes = [x_mean.numel(), *[width] * layers]
        blocks: list[nn.Module] = []
        for n_in, n_hidden in pairwise(sizes):
            blocks += [nn.Linear(n_in, n_hidden), nn.GELU(), nn.Dropout(dropout)]
        self.body = nn.Sequential(*blocks, nn.Linear(sizes[-1], n_out))

    def forward(self, features: Tensor) -> Tensor:
        out: Tensor = self.body((features - self.x_mean) / self.x_scale)
        return out.squeeze(-1) * self.y_scale + self.y_mean if self.is_regression else out


class PreparedMlp:
    tokens_per_row = 0
    text_column = None
    context_length = None
    tokenizer = None

    def __init__(
        self, spec: TrainingSpec, table: Table, validation: Table | None, *, seed: int, learned: Learned | None
    ) -> None:
        wanted = spec.hyperparameters
        self.plan = plan_of(wanted, _DEFAULTS)
        self.notes: list[str] = []
        self.target = target = self._target(spec, table)
        named = tuple(dict.fromkeys(map(table.find, spec.feature_columns)))
        inferred = learned.features if learned else tuple(c for c in table.columns if c != target)
        self.features = named or inferred
        if not self.features or target in self.features:
            message = "there must be features beside the label"
            if len(table.columns) == 1:
                message += ": the header has one column, cells are separated by a comma, semicolon, tab or bar"
            raise DataRejected("data_column_missing", message, column=target)
        if table.height < _FEWEST_ROWS:
            raise DataRejected("data_too_few_rows", f"the data has {table.height} rows; {_FEWEST_ROWS} are needed")
        is_regression = spec.task == "regression"
        if spec.task is None:
            is_regression, why = is_quantity(table, target)
            self.notes.append(why)
        self.task: Task = "tabular-regression" if is_regression else "tabular-classification"
        self.labels: tuple[str, ...] = learned.labels if learned else ()
        if learned is None and not is_regression:
            cells = table.labels(target)
            self.labels = classes_of(cells, target, is_asked=spec.task == "classification")
            self.notes += remarks_on(cells, target)
        if not named:
            rows = [repr(name) for name in self.features if name.casefold() in _ROW_NAMES]
            self.notes += [
                f"{name} is a feature, though named like a row's number; see feature_columns" for name in rows
            ]
        x, y = self._read(table)
        if validation is None:
            train, held_out = split_rows(table.height, wanted.validation_fraction or 0.2, seed=seed)
            self._x, self._y, self._x_held, self._y_held = x[train], y[train], x[held_out], y[held_out]
        else:
            self._x, self._y = x, y
            self._x_held, self._y_held = self._read(validation)
        self.n_rows = len(self._x)
        self.headline = "rmse" if is_regression else "accuracy"
        self.baseline = self._baseline()
        one, zero = torch.ones(()), torch.zeros(())
        self.model = Mlp(
            self._x.mean(0),
            self._x.std(0, correction=0).clamp_min(1e-6),
            self._y.mean() if is_regression else zero,
            self._y.std(correction=0).clamp_min(1e-6) if is_regression else one,
            width=wanted.width or 64,
            layers=wanted.layers or 2,
            n_out=1 if is_regression else len(self.labels),
            dropout=wanted.dropout if wanted.dropout is not None else 0.1,
            is_regression=is_regression,
        )

    def describe(self) -> Sequence[str]:
        kind = f"{len(self.labels)} classes" if self.labels else f"target {self.target!r}"
        return [
            f"{self.n_rows} rows to train on, {len(self._x_held)} held out, {len(self.features)} features, {kind}",
            f"mlp with {n_parameters(self.model)} parameters",
        ]

    def loss(self, rows: Tensor, device: torch.device) -> Tensor:
        x, y = self._x[rows].to(device), self._y[rows].to(device)
        out = self.model(x)
        if self.labels:
            return functional.cross_entropy(out, y)
        # In units of the target's spread, so that one learning rate fits targets of any size.
        return functional.mse_loss(out, y) / self.model.y_scale**2

    def evaluate(self, device: torch.device) -> dict[str, float | None]:
        out = self.model(self._x_held.to(device)).cpu()
        if self.labels:
            accuracy = float((out.argmax(-1) == self._y_held).float().mean())
            return {"loss": float(functional.cross_entropy(out, self._y_held)), "accuracy": accuracy}
        error = out - self._y_held
        spread = float(((self._y_held - self._y_held.mean()) ** 2).sum())
        r2 = 1 - float((error**2).sum()) / spread if spread > 0 else None
        return {"rmse": float((error**2).mean().sqrt()), "mae": float(error.abs().mean()), "r2": r2}

    def export(self) -> Export:
        name, shape = ("logits", ("batch", len(self.labels))) if self.labels else ("prediction", ("batch",))
        return Export(
            examples=(self._x_held[:256],),
            inputs=(TensorSpec(name="features", dtype="float32", shape=("batch", len(self.features))),),
            outputs=(TensorSpec(name=name, dtype="float32", shape=shape),),
            dynamic=({0: "batch"},),
            classes_axis=1 if self.labels else None,
        )

    def _target(self, spec: TrainingSpec, table: Table) -> str:
        found = label_column(table.columns, spec.label_column)
        if found is not None:
            return found
        last = table.columns[-1]
        self.notes.append(f"no column is called label, target, class or y: the last one, {last!r}, is predicted")
        return last

    def _read(self, table: Table) -> tuple[Tensor, Tensor]:
        """-> features (n, F) float32, target (n,) int64 or float32."""
        x = torch.tensor([table.numbers(name) for name in self.features], dtype=torch.float32).T.contiguous()
        target = self.target
        if self.labels:
            return x, encode(table, target, self.labels)
        return x, torch.tensor(table.numbers(target), dtype=torch.float32)

    def _baseline(self) -> dict[str, float | None]:
        if self.labels:
            return {"accuracy": majority_accuracy(self._y, self._y_held)}
        return {"rmse": float(((self._y_held - self._y.mean()) ** 2).mean().sqrt())}


class MlpRecipe:
    def prepare(
        self, spec: TrainingSpec, table: Table, validation: Table | None, *, seed: int, learned: Learned | None
    ) -> PreparedMlp:
        if spec.task == "language-modeling":
            raise SpecRejected("an mlp classifies or measures", pointer="/task")
        return PreparedMlp(spec, table, validation, seed=seed, learned=learned)
