"""The recipe for texts with labels: a transformer that classifies a text.

It is given the column of the labels, and never guesses it.
"""

from collections.abc import Sequence

import torch
from recipe_kit import tokens
from recipe_kit.checkpoint import Vocabulary
from recipe_kit.context import Context
from recipe_kit.facts import log_start
from recipe_kit.labels import classes_of, classes_without_rows, majority_accuracy, remarks_on
from recipe_kit.labels import encode as encode_labels
from recipe_kit.optimiser import Plan, plan_of
from recipe_kit.recipe import Export, Recipe, Trained, n_parameters, split_rows
from recipe_kit.tables import text_column
from recipe_kit.trainer import Trainer
from shared_schemas.models import Task, TensorSpec
from shared_schemas.specs import Hyperparameters
from torch import Tensor
from torch.nn import functional

from training_worker.recipes.attention import Classifier
from training_worker.recipes.texts import (
    DEFAULT_VOCABULARY,
    DYNAMIC,
    EVALUATION_ROWS,
    INPUTS,
    SHAPE,
    body_of,
    tokenizer_of,
)

_DEFAULTS = Plan(epochs=5, batch_size=32, learning_rate=1e-3, weight_decay=0.01, warmup_fraction=0.1, max_steps=None)


class Experiment:
    """Labelled texts, and a model for them. label: the column of the classes. Everything random in
    it follows from the seed."""

    task: Task = "text-classification"

    def __init__(self, context: Context[Hyperparameters], label: str) -> None:
        spec, wanted, source = context.spec, context.hyperparameters, context.vocabulary
        table, validation = context.data.table, context.data.validation
        self._device = context.device
        self.plan, self.target = plan_of(wanted, _DEFAULTS), label
        self.text_column = text = text_column(table, spec.text_column, label)
        texts, cells = table.texts(text), table.labels(label)
        is_asked = spec.task == "classification"
        self.labels = source.labels if source else classes_of(cells, label, is_asked=is_asked)
        self.notes = remarks_on(cells, label)
        numbers = encode_labels(table, label, self.labels)
        if validation is None:
            train, held_out = split_rows(table.height, wanted.validation_fraction or 0.15, seed=context.seed)
            texts_held, numbers_held = [texts[i] for i in held_out], numbers[held_out]
            texts, numbers = [texts[i] for i in train], numbers[train]
        else:
            texts_held = validation.texts(text)
            numbers_held = encode_labels(validation, label, self.labels)
        tokenizer = tokenizer_of(source, texts, wanted.vocabulary_size or DEFAULT_VOCABULARY)
        self.tokenizer = tokenizer.to_str()
        self.context_length = wanted.max_length or 96
        self._ids, self._mask = _padded(tokens.encode(tokenizer, texts), self.context_length)
        self._ids_held, self._mask_held = _padded(tokens.encode(tokenizer, texts_held), self.context_length)
        self._y, self._y_held = numbers, numbers_held
        self.n_rows = len(numbers)
        self.baseline: dict[str, float | None] = {"accuracy": majority_accuracy(self._y, self._y_held)}
        body = body_of(wanted, vocabulary=tokenizer.get_vocab_size(), context=self.context_length, width=64, layers=2,
                       dropout=0.3, is_causal=False)  # fmt: skip
        self.model = Classifier(body, len(self.labels))

    @property
    def vocabulary(self) -> Vocabulary:
        return Vocabulary(
            tokenizer=self.tokenizer,
            labels=self.labels,
            task=self.task,
            target=self.target,
            text_column=self.text_column,
        )

    def describe(self) -> Sequence[str]:
        """Lines for the log: texts, classes, parameters."""
        return [
            f"{self.n_rows} texts to train on, {len(self._y_held)} held out, {len(self.labels)} classes",
            *classes_without_rows(self.labels, self._y, self._y_held),
            f"transformer with {n_parameters(self.model)} parameters, {self.context_length} tokens of context",
        ]

    def loss(self, rows: Tensor) -> Tensor:
        ids, mask = _trimmed(self._ids[rows], self._mask[rows])
        return functional.cross_entropy(
            self.model(ids.to(self._device), mask.to(self._device)), self._y[rows].to(self._device)
        )

    def evaluate(self) -> dict[str, float | None]:
        logits = torch.cat(
            [
                self.model(
                    self._ids_held[i : i + EVALUATION_ROWS].to(self._device),
                    self._mask_held[i : i + EVALUATION_ROWS].to(self._device),
                ).cpu()
                for i in range(0, len(self._y_held), EVALUATION_ROWS)
            ]
        )
        accuracy = float((logits.argmax(-1) == self._y_held).float().mean())
        return {"loss": float(functional.cross_entropy(logits, self._y_held)), "accuracy": accuracy}

    def export(self) -> Export:
        return Export(
            examples=(self._ids_held[:32], self._mask_held[:32]),
            inputs=INPUTS,
            outputs=(TensorSpec(name="logits", dtype="float32", shape=("batch", len(self.labels))),),
            dynamic=DYNAMIC,
            classes_axis=1,
        )


class TextClassification(Recipe[Hyperparameters]):
    """label: the column of the classes."""

    name = "transformer"
    hyperparameters = Hyperparameters
    shape = SHAPE

    def __init__(self, label: str) -> None:
        self._label = label

    def experiment(self, context: Context[Hyperparameters]) -> Experiment:
        """The data and the model, before training. SpecRejected, DataRejected."""
        return Experiment(context, self._label)

    def train(self, context: Context[Hyperparameters]) -> Trained:
        experiment = self.experiment(context)
        trainer = Trainer(
            context,
            experiment.plan,
            experiment.model,
            n_rows=experiment.n_rows,
            loss=experiment.loss,
            evaluate=experiment.evaluate,
            headline="accuracy",
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
            context_length=experiment.context_length,
        )


def _padded(ids: list[list[int]], length: int) -> tuple[Tensor, Tensor]:
    """-> (ids (n, length), cut or padded on the right; mask (n, length), 1 for a token). A text
    without tokens becomes one unknown token."""
    rows = torch.full((len(ids), length), tokens.PAD)
    mask = torch.zeros((len(ids), length), dtype=torch.int64)
    for i, row in enumerate(ids):
        kept = torch.tensor(row[:length] or [tokens.UNKNOWN])
        rows[i, : len(kept)] = kept
        mask[i, : len(kept)] = 1
    return rows, mask


def _trimmed(ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Both (B, T), without the columns that are padding in every row."""
    longest = int(mask.sum(1).max())
    return ids[:, :longest], mask[:, :longest]
