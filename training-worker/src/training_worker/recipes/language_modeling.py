"""The recipe for texts alone: a transformer that continues a text. It knows no labels."""

import math
from collections.abc import Sequence

import torch
from recipe_kit import tokens
from recipe_kit.checkpoint import Vocabulary
from recipe_kit.context import Context
from recipe_kit.facts import log_start
from recipe_kit.optimiser import Plan, plan_of
from recipe_kit.recipe import Export, Recipe, Trained, n_parameters, split_rows
from recipe_kit.tables import Table, text_column
from recipe_kit.trainer import Trainer
from shared_schemas.models import Task, TensorSpec
from shared_schemas.specs import Hyperparameters
from torch import Tensor
from torch.nn import functional

from training_worker.recipes.attention import LanguageModel
from training_worker.recipes.texts import (
    DEFAULT_VOCABULARY,
    DYNAMIC,
    EVALUATION_ROWS,
    INPUTS,
    SHAPE,
    body_of,
    tokenizer_of,
)

_DEFAULTS = Plan(epochs=8, batch_size=32, learning_rate=4e-3, weight_decay=0.01, warmup_fraction=0.1, max_steps=None)


class Experiment:
    """Windows of texts, and a model for them. Everything random in it follows from the seed."""

    task: Task = "text-generation"
    labels: tuple[str, ...] = ()
    target = None
    notes: tuple[str, ...] = ()

    def __init__(self, context: Context[Hyperparameters]) -> None:
        spec, wanted, source = context.spec, context.hyperparameters, context.vocabulary
        table, validation = context.data.table, context.data.validation
        self._device = context.device
        self.plan = plan_of(wanted, _DEFAULTS)
        self.text_column = text = text_column(table, spec.text_column, None)
        texts = table.texts(text)
        if validation is None:
            train, held_out = split_rows(table.height, wanted.validation_fraction or 0.1, seed=context.seed)
            texts_held, texts = [texts[i] for i in held_out], [texts[i] for i in train]
        else:
            texts_held = validation.texts(text)
        tokenizer = tokenizer_of(source, texts, wanted.vocabulary_size or DEFAULT_VOCABULARY)
        self.tokenizer = tokenizer.to_str()
        self.context_length = wanted.max_length or 64
        self._windows = _windows(tokens.encode(tokenizer, texts), self.context_length, table, text)
        held = table if validation is None else validation
        self._windows_held = _windows(tokens.encode(tokenizer, texts_held), self.context_length, held, text)
        self.n_rows, self._vocabulary = len(self._windows), tokenizer.get_vocab_size()
        # A model that has learned nothing gives each token of the vocabulary the same probability.
        self.baseline: dict[str, float | None] = {"perplexity": float(self._vocabulary)}
        body = body_of(wanted, vocabulary=self._vocabulary, context=self.context_length, width=128, layers=2,
                       dropout=0.1, is_causal=True)  # fmt: skip
        self.model = LanguageModel(body)

    @property
    def vocabulary(self) -> Vocabulary:
        return Vocabulary(tokenizer=self.tokenizer, task=self.task, text_column=self.text_column)

    def describe(self) -> Sequence[str]:
        """Lines for the log: tokens, parameters, context."""
        n_tokens = self._windows.numel()
        return [
            f"{n_tokens} tokens to train on, {self._windows_held.numel()} held out, vocabulary {self._vocabulary}",
            f"causal transformer with {n_parameters(self.model)} parameters, {self.context_length} tokens of context",
        ]

    def loss(self, rows: Tensor) -> Tensor:
        return self._loss_of(self._windows[rows].to(self._device))

    def evaluate(self) -> dict[str, float | None]:
        total, count = 0.0, 0
        for i in range(0, len(self._windows_held), EVALUATION_ROWS):
            windows = self._windows_held[i : i + EVALUATION_ROWS].to(self._device)
            total += float(self._loss_of(windows)) * len(windows)
            count += len(windows)
        return {"loss": total / count, "perplexity": math.exp(min(80.0, total / count))}

    def export(self) -> Export:
        ids = self._windows_held[:16, :-1]
        return Export(
            examples=(ids, torch.ones_like(ids)),
            inputs=INPUTS,
            outputs=(TensorSpec(name="logits", dtype="float32", shape=("batch", "length", self._vocabulary)),),
            dynamic=DYNAMIC,
            classes_axis=2,
        )

    def _loss_of(self, windows: Tensor) -> Tensor:
        """windows (B, T + 1) -> scalar. Each token is predicted from those before it."""
        ids, wanted = windows[:, :-1], windows[:, 1:]
        logits = self.model(ids, torch.ones_like(ids))
        return functional.cross_entropy(logits.flatten(0, 1), wanted.flatten())


class LanguageModeling(Recipe[Hyperparameters]):
    """Each token is predicted from those before it."""

    name = "transformer"
    hyperparameters = Hyperparameters
    shape = SHAPE

    def experiment(self, context: Context[Hyperparameters]) -> Experiment:
        """The data and the model, before training. SpecRejected, DataRejected."""
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
            headline="perplexity",
            vocabulary=experiment.vocabulary,
            tokens_per_row=experiment.context_length,
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


def _windows(ids: list[list[int]], context: int, table: Table, column: str) -> Tensor:
    """ids: the tokens of each text -> (n, context + 1). All texts in a row, each between <bos> and
    <eos>, are cut into windows. The last token of a window is the first of the next one.
    DataRejected data_too_few_rows if the texts are shorter than one window."""
    stream = [token for row in ids for token in (tokens.BEGIN, *row, tokens.END)]
    n_windows = (len(stream) - 1) // context
    if n_windows < 1:
        message = f"the text of {column!r} is shorter than one window of {context} tokens"
        raise table.fault("data_too_few_rows", message, column=column)
    whole = torch.tensor(stream[: n_windows * context + 1])
    return whole.unfold(0, context + 1, context).contiguous()
