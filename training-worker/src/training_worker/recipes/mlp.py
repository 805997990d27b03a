"""The recipe for tabular data: a multi-layer perceptron for classification or regression.

It knows columns of numbers and one target. It knows no text.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from recipe_kit.checkpoint import Vocabulary
from recipe_kit.context import Context
from recipe_kit.facts import log_start
from recipe_kit.labels import classes_of, classes_without_rows, encode, majority_accuracy, remarks_on
from recipe_kit.optimiser import Plan, plan_of
from recipe_kit.recipe import Export, Recipe, Trained, n_parameters, split_rows, unused_of
from recipe_kit.scaling import Scaling, remarks, scaling_of
from recipe_kit.tables import Table, label_column
from recipe_kit.targets import is_quantity
from recipe_kit.trainer import Trainer
from shared_schemas.errors import DataRejected, SpecRejected
from shared_schemas.models import Task, TensorSpec
from shared_schemas.specs import Hyperparameters, TrainingSpec
from torch import Tensor, nn
from torch.nn import functional

_DEFAULTS = Plan(epochs=60, batch_size=32, learning_rate=3e-3, weight_decay=0.01, warmup_fraction=0.05, max_steps=None)
_FEWEST_ROWS = 8
# Hyperparameters that only models of texts have.
_OF_TEXT = ("heads", "max_length", "vocabulary_size")
# Usual names of a column that numbers the rows, and so says nothing about them.
_ROW_NAMES = frozenset(("id", "index", "idx", "no", "nr", "row", "row_id", "rowid", "uuid"))


class Mlp(nn.Module):
    """features (B, F) float64, unscaled -> logits (B, C) float32, or predictions (B,) float64 in
    the unit of the target. The graph contains both scalings. x: the scaling of the features. y:
    that of the target of a regression, None for a classifier."""

    def __init__(self, x: Scaling, y: Scaling | None, *, width: int, layers: int, n_out: int, dropout: float) -> None:
        super().__init__()
        y_mean, y_scale = (torch.zeros(()), torch.ones(())) if y is None else (y.mean[0], y.scale[0])
        self.x_mean, self.x_scale = nn.Buffer(x.mean), nn.Buffer(x.scale)
        self.y_mean, self.y_scale = nn.Buffer(y_mean.double()), nn.Buffer(y_scale.double())
        # Not persistent, because they belong to the data and not to the weights: a run that starts
        # from these weights with other data has limits of its own.
        low, high = x.reach
        self.x_low, self.x_high = nn.Buffer(low, persistent=False), nn.Buffer(high, persistent=False)
        self.is_regression = y is not None
        sizes = [x.mean.numel(), *[width] * layers]
        blocks: list[nn.Module] = []
        for n_in, n_hidden in pairwise(sizes):
            blocks += [nn.Linear(n_in, n_hidden), nn.GELU(), nn.Dropout(dropout)]
        self.body = nn.Sequential(*blocks, nn.Linear(sizes[-1], n_out))

    def forward(self, features: Tensor) -> Tensor:
        out = self.scaled(features)
        # reshape(1), because the export leaves out the addition of a scalar below 1e-8, which may
        # matter if the target has a small unit.
        return out.double() * self.y_scale + self.y_mean.reshape(1) if self.is_regression else out

    def scaled(self, features: Tensor) -> Tensor:
        """features (B, F) float64 -> logits (B, C) float32, or predictions (B,) float32, as
        standard deviations from the mean of the target."""
        near = torch.minimum(torch.maximum(features, self.x_low), self.x_high)
        out: Tensor = self.body(((near - self.x_mean) / self.x_scale).float())
        return out.squeeze(-1) if self.is_regression else out

    def in_units(self, target: Tensor) -> Tensor:
        """target (B,) float64 -> (B,) float64, in the unit of `scaled`."""
        return (target - self.y_mean) / self.y_scale


class Experiment:
    """The rows of a table, and a model for them. Everything random in it follows from the seed.

    SpecRejected or DataRejected if the data cannot be trained on, or do not fit the vocabulary of
    the checkpoint that the run starts from.
    """

    def __init__(self, context: Context[Hyperparameters]) -> None:
        spec, wanted, source = context.spec, context.hyperparameters, context.vocabulary
        table, validation = context.data.table, context.data.validation
        self._device = context.device
        self.plan = plan_of(wanted, _DEFAULTS)
        self.notes: list[str] = []
        self._unused = unused_of(wanted, _OF_TEXT)
        self.target = target = self._target(spec, table)
        named = tuple(dict.fromkeys(map(table.find, spec.feature_columns)))
        inferred = source.features if source else tuple(c for c in table.columns if c != target)
        self.features = named or inferred
        if not self.features or target in self.features:
            message = "there must be features besides the label"
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
        self.labels: tuple[str, ...] = source.labels if source else ()
        if source is None and not is_regression:
            cells = table.labels(target)
            self.labels = classes_of(cells, target, is_asked=spec.task == "classification")
            self.notes += remarks_on(cells, target)
        if not named:
            rows = [repr(name) for name in self.features if name.casefold() in _ROW_NAMES]
            self.notes += [
                f"{name} is a feature, although it is named like a row number; see feature_columns" for name in rows
            ]
        x, y = self._read(table)
        if validation is None:
            train, held_out = split_rows(table.height, wanted.validation_fraction or 0.2, seed=context.seed)
            self._x, self._y, self._x_held, self._y_held = x[train], y[train], x[held_out], y[held_out]
        else:
            self._x, self._y = x, y
            self._x_held, self._y_held = self._read(validation)
        self.n_rows = len(self._x)
        self.headline = "rmse" if is_regression else "accuracy"
        self._scaling = scaling_of(self._x)
        self._of_target = scaling_of(self._y.unsqueeze(-1)) if is_regression else None
        self.feature_ranges = scaling_of(torch.cat([self._x, self._x_held])).ranges
        self.baseline = self._baseline()
        self.model = Mlp(
            self._scaling,
            self._of_target,
            width=wanted.width or 64,
            layers=wanted.layers or 2,
            n_out=1 if is_regression else len(self.labels),
            dropout=wanted.dropout if wanted.dropout is not None else 0.1,
        )

    @property
    def vocabulary(self) -> Vocabulary:
        return Vocabulary(labels=self.labels, features=self.features, task=self.task, target=self.target)

    def describe(self) -> Sequence[str]:
        """Lines for the log: rows, classes, parameters."""
        kind = f"{len(self.labels)} classes" if self.labels else f"target {self.target!r}"
        about_target = [] if self._of_target is None else remarks(self._of_target, self._y.unsqueeze(-1), [self.target])
        return [
            f"{self.n_rows} rows to train on, {len(self._x_held)} held out, {len(self.features)} features, {kind}",
            *classes_without_rows(self.labels, self._y, self._y_held),
            *remarks(self._scaling, self._x, self.features),
            *about_target,
            *self._unused,
            f"mlp with {n_parameters(self.model)} parameters",
        ]

    def loss(self, rows: Tensor) -> Tensor:
        x, y = self._x[rows].to(self._device), self._y[rows].to(self._device)
        out = self.model.scaled(x)
        if self.labels:
            return functional.cross_entropy(out, y)
        # The loss is in standard deviations, so that one learning rate fits targets of any unit.
        return functional.mse_loss(out, self.model.in_units(y).float())

    def evaluate(self) -> dict[str, float | None]:
        out = self.model.scaled(self._x_held.to(self._device)).cpu()
        if self.labels:
            accuracy = float((out.argmax(-1) == self._y_held).float().mean())
            return {"loss": float(functional.cross_entropy(out, self._y_held)), "accuracy": accuracy}
        wanted, unit = self.model.in_units(self._y_held.to(self._device)).cpu(), float(self.model.y_scale)
        error = out.double() - wanted
        of_held = scaling_of(wanted.unsqueeze(-1))
        r2 = None if of_held.is_constant else 1 - float((error**2).mean() / of_held.scale[0] ** 2)
        return {"rmse": float((error**2).mean().sqrt()) * unit, "mae": float(error.abs().mean()) * unit, "r2": r2}

    def export(self) -> Export:
        name, shape = ("logits", ("batch", len(self.labels))) if self.labels else ("prediction", ("batch",))
        return Export(
            examples=(self._x_held[:256],),
            inputs=(TensorSpec(name="features", dtype="float64", shape=("batch", len(self.features))),),
            outputs=(TensorSpec(name=name, dtype="float32" if self.labels else "float64", shape=shape),),
            dynamic=({0: "batch"},),
            classes_axis=1 if self.labels else None,
            offset=float(self.model.y_mean),
            unit=float(self.model.y_scale),
        )

    def _target(self, spec: TrainingSpec, table: Table) -> str:
        found = label_column(table.columns, spec.label_column)
        if found is not None:
            return found
        last = table.columns[-1]
        self.notes.append(f"no column is called label, target, class or y: the last one, {last!r}, is predicted")
        return last

    def _read(self, table: Table) -> tuple[Tensor, Tensor]:
        """-> features (n, F) float64, target (n,): int64 classes or float64 quantities."""
        x = torch.tensor([table.numbers(name) for name in self.features], dtype=torch.float64).T.contiguous()
        target = self.target
        if self.labels:
            return x, encode(table, target, self.labels)
        return x, torch.tensor(table.numbers(target), dtype=torch.float64)

    def _baseline(self) -> dict[str, float | None]:
        if self.labels:
            return {"accuracy": majority_accuracy(self._y, self._y_held)}
        assert self._of_target is not None  # noqa: S101 - there are no labels
        [unit] = self._of_target.scale.tolist()
        error = self._of_target.apply(self._y_held.unsqueeze(-1))
        return {"rmse": float((error**2).mean().sqrt()) * unit}


class MlpRecipe(Recipe[Hyperparameters]):
    name = "mlp"
    hyperparameters = Hyperparameters
    shape = ("width", "layers")

    def experiment(self, context: Context[Hyperparameters]) -> Experiment:
        """The data and the model, before training. SpecRejected, DataRejected."""
        if context.spec.task == "language-modeling":
            raise SpecRejected("an mlp has the tasks classification and regression", pointer="/task")
        if context.spec.text_column is not None:
            raise SpecRejected("text_column is of no use to an mlp, which learns from numbers", pointer="/text_column")
        return Experiment(context)

    def train(self, context: Context[Hyperparameters]) -> Trained:
        experiment = self.experiment(context)
        trainer = Trainer(
            context,
            experiment.plan,
            experiment.model,
            n_rows=experiment.n_rows,
            loss=experiment.loss,
            evaluate=experiment.evaluate,
            headline=experiment.headline,
            vocabulary=experiment.vocabulary,
        )
        data = log_start(
            context,
            experiment.vocabulary,
            notes=experiment.notes,
            lines=experiment.describe(),
            baseline=experiment.baseline,
        )
        end, metrics = trainer.fit()
        return Trained(
            model=experiment.model,
            export=experiment.export(),
            vocabulary=experiment.vocabulary,
            steps=end.step,
            metrics=metrics,
            baseline=experiment.baseline,
            data=data,
            feature_ranges=experiment.feature_ranges,
        )
