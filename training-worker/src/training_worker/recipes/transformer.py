"""Text: a transformer that names a class where there is a label, and continues a text where there is none."""

import math
from collections.abc import Sequence

import torch
from recipe_kit import tokens
from recipe_kit.labels import classes_of, majority_accuracy, remarks_on, without_rows
from recipe_kit.labels import encode as encode_labels
from recipe_kit.recipe import Export, Learned, Plan, Prepared, n_parameters, plan_of, split_rows
from recipe_kit.tables import Table, label_column, seen, text_column
from shared_schemas.errors import DataRejected, SpecRejected
from shared_schemas.models import Task, TensorSpec
from shared_schemas.specs import Hyperparameters, TrainingSpec
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional

from training_worker.recipes.attention import Classifier, LanguageModel, Transformer

_CLASSIFIER = Plan(epochs=5, batch_size=32, learning_rate=1e-3, weight_decay=0.01, warmup_fraction=0.1, max_steps=None)
_LANGUAGE_MODEL = Plan(
    epochs=8, batch_size=32, learning_rate=4e-3, weight_decay=0.01, warmup_fraction=0.1, max_steps=None
)
_FEWEST_ROWS = 8
_EVALUATION_ROWS = 128


class PreparedClassifier:
    task: Task = "text-classification"
    features: tuple[str, ...] = ()
    feature_ranges: tuple[tuple[float, float], ...] = ()
    headline = "accuracy"

    def __init__(
        self,
        spec: TrainingSpec,
        table: Table,
        validation: Table | None,
        *,
        label: str,
        seed: int,
        learned: Learned | None,
    ) -> None:
        wanted = spec.hyperparameters
        self.plan, self.target = plan_of(wanted, _CLASSIFIER), label
        self.text_column = text = text_column(table, spec.text_column, label)
        texts, cells = table.texts(text), table.labels(label)
        is_asked = spec.task == "classification"
        self.labels = learned.labels if learned else classes_of(cells, label, is_asked=is_asked)
        self.notes = remarks_on(cells, label)
        numbers = encode_labels(table, label, self.labels)
        if validation is None:
            train, held_out = split_rows(table.height, wanted.validation_fraction or 0.15, seed=seed)
            texts_held, numbers_held = [texts[i] for i in held_out], numbers[held_out]
            texts, numbers = [texts[i] for i in train], numbers[train]
        else:
            texts_held = validation.texts(text)
            numbers_held = encode_labels(validation, label, self.labels)
        made = _tokenizer(learned, texts, wanted.vocabulary_size or 1024)
        self.tokenizer = made.to_str().encode()
        self.context_length = wanted.max_length or 96
        self.tokens_per_row = 0
        self._ids, self._mask = _padded(tokens.encode(made, texts), self.context_length)
        self._ids_held, self._mask_held = _padded(tokens.encode(made, texts_held), self.context_length)
        self._y, self._y_held = numbers, numbers_held
        self.n_rows = len(numbers)
        self.baseline: dict[str, float | None] = {"accuracy": majority_accuracy(self._y, self._y_held)}
        body = _body(wanted, vocabulary=made.get_vocab_size(), context=self.context_length, width=64, layers=2,
                     dropout=0.3, is_causal=False)  # fmt: skip
        self.model = Classifier(body, len(self.labels))

    def describe(self) -> Sequence[str]:
        return [
            f"{self.n_rows} texts to train on, {len(self._y_held)} held out, {len(self.labels)} classes",
            *without_rows(self.labels, self._y, self._y_held),
            f"transformer with {n_parameters(self.model)} parameters, {self.context_length} tokens of context",
        ]

    def loss(self, rows: Tensor, device: torch.device) -> Tensor:
        ids, mask = _trimmed(self._ids[rows], self._mask[rows])
        return functional.cross_entropy(self.model(ids.to(device), mask.to(device)), self._y[rows].to(device))

    def evaluate(self, device: torch.device) -> dict[str, float | None]:
        logits = torch.cat(
            [
                self.model(
                    self._ids_held[i : i + _EVALUATION_ROWS].to(device),
                    self._mask_held[i : i + _EVALUATION_ROWS].to(device),
                ).cpu()
                for i in range(0, len(self._y_held), _EVALUATION_ROWS)
            ]
        )
        accuracy = float((logits.argmax(-1) == self._y_held).float().mean())
        return {"loss": float(functional.cross_entropy(logits, self._y_held)), "accuracy": accuracy}

    def export(self) -> Export:
        return Export(
            examples=(self._ids_held[:32], self._mask_held[:32]),
            inputs=_INPUTS,
            outputs=(TensorSpec(name="logits", dtype="float32", shape=("batch", len(self.labels))),),
            dynamic=_DYNAMIC,
            classes_axis=1,
        )


class PreparedLanguageModel:
    task: Task = "text-generation"
    labels: tuple[str, ...] = ()
    features: tuple[str, ...] = ()
    feature_ranges: tuple[tuple[float, float], ...] = ()
    target = None
    notes: tuple[str, ...] = ()
    headline = "perplexity"

    def __init__(
        self, spec: TrainingSpec, table: Table, validation: Table | None, *, seed: int, learned: Learned | None
    ) -> None:
        wanted = spec.hyperparameters
        self.plan = plan_of(wanted, _LANGUAGE_MODEL)
        self.text_column = text = text_column(table, spec.text_column, None)
        texts = table.texts(text)
        if validation is None:
            train, held_out = split_rows(table.height, wanted.validation_fraction or 0.1, seed=seed)
            texts_held, texts = [texts[i] for i in held_out], [texts[i] for i in train]
        else:
            texts_held = validation.texts(text)
        made = _tokenizer(learned, texts, wanted.vocabulary_size or 1024)
        self.tokenizer = made.to_str().encode()
        self.context_length = wanted.max_length or 64
        self.tokens_per_row = self.context_length
        self._windows = _windows(tokens.encode(made, texts), self.context_length, table, text)
        held = table if validation is None else validation
        self._windows_held = _windows(tokens.encode(made, texts_held), self.context_length, held, text)
        self.n_rows, self._vocabulary = len(self._windows), made.get_vocab_size()
        # A model that knows nothing gives each token of the vocabulary the same chance.
        self.baseline: dict[str, float | None] = {"perplexity": float(self._vocabulary)}
        body = _body(wanted, vocabulary=self._vocabulary, context=self.context_length, width=128, layers=2,
                     dropout=0.1, is_causal=True)  # fmt: skip
        self.model = LanguageModel(body)

    def describe(self) -> Sequence[str]:
        n_tokens = self._windows.numel()
        return [
            f"{n_tokens} tokens to train on, {self._windows_held.numel()} held out, vocabulary {self._vocabulary}",
            f"causal transformer with {n_parameters(self.model)} parameters, {self.context_length} tokens of context",
        ]

    def loss(self, rows: Tensor, device: torch.device) -> Tensor:
        return self._loss_of(self._windows[rows].to(device))

    def evaluate(self, device: torch.device) -> dict[str, float | None]:
        total, count = 0.0, 0
        for i in range(0, len(self._windows_held), _EVALUATION_ROWS):
            windows = self._windows_held[i : i + _EVALUATION_ROWS].to(device)
            total += float(self._loss_of(windows)) * len(windows)
            count += len(windows)
        return {"loss": total / count, "perplexity": math.exp(min(80.0, total / count))}

    def export(self) -> Export:
        ids = self._windows_held[:16, :-1]
        return Export(
            examples=(ids, torch.ones_like(ids)),
            inputs=_INPUTS,
            outputs=(TensorSpec(name="logits", dtype="float32", shape=("batch", "length", self._vocabulary)),),
            dynamic=_DYNAMIC,
            classes_axis=2,
        )

    def _loss_of(self, windows: Tensor) -> Tensor:
        """windows (B, T + 1): each token is predicted from those before it."""
        ids, wanted = windows[:, :-1], windows[:, 1:]
        logits = self.model(ids, torch.ones_like(ids))
        return functional.cross_entropy(logits.flatten(0, 1), wanted.flatten())


class TransformerRecipe:
    def prepare(
        self, spec: TrainingSpec, table: Table, validation: Table | None, *, seed: int, learned: Learned | None
    ) -> Prepared:
        if spec.task == "regression":
            raise SpecRejected("a transformer classifies text or continues it", pointer="/task")
        if spec.feature_columns:
            raise SpecRejected(
                "feature_columns are of no use to a transformer, which learns from one text: say text_column",
                pointer="/feature_columns",
            )
        if spec.task == "language-modeling" and spec.label_column is not None:
            raise SpecRejected("a language model learns from texts alone, without labels", pointer="/label_column")
        if table.height < _FEWEST_ROWS:
            raise DataRejected("data_too_few_rows", f"the data has {table.height} rows; {_FEWEST_ROWS} are needed")
        label = None if spec.task == "language-modeling" else _label_column(spec, table)
        if label is not None:
            return PreparedClassifier(spec, table, validation, label=label, seed=seed, learned=learned)
        return PreparedLanguageModel(spec, table, validation, seed=seed, learned=learned)


def _label_column(spec: TrainingSpec, table: Table) -> str | None:
    """None where there is but a text. What a table with more columns is for is never guessed."""
    text = None if spec.text_column is None else table.find(spec.text_column)
    columns = table.columns if spec.label_column else [column for column in table.columns if column != text]
    label = label_column(columns, spec.label_column)
    if label is not None and label == text:
        raise SpecRejected("one column is both the text and the label", pointer="/label_column")
    if label is None and (spec.task == "classification" or len(table.columns) > 1):
        message = (
            f"no column is called label, target, class or y: of {seen(table.columns)}, say which is the label_column"
        )
        if spec.task is None:
            message += ", or say task language-modeling to learn from texts alone"
        raise table.fault("data_column_missing", message)
    return label


_INPUTS = (
    TensorSpec(name="input_ids", dtype="int64", shape=("batch", "length")),
    TensorSpec(name="attention_mask", dtype="int64", shape=("batch", "length")),
)
_DYNAMIC = ({0: "batch", 1: "length"}, {0: "batch", 1: "length"})


def _tokenizer(learned: Learned | None, texts: Sequence[str], vocabulary: int) -> Tokenizer:
    if learned is not None and learned.tokenizer is not None:
        return tokens.read_tokenizer(learned.tokenizer)
    return tokens.train_tokenizer(texts, vocabulary)


def _heads(width: int) -> int:
    """About 32 dimensions a head, in equal parts."""
    return next(heads for heads in range(max(1, width // 32), 0, -1) if width % heads == 0)


def _body(wanted: Hyperparameters, *, vocabulary: int, context: int, width: int, layers: int, dropout: float,
          is_causal: bool) -> Transformer:  # fmt: skip
    width = wanted.width or width
    heads = wanted.heads or _heads(width)
    if width % heads:
        raise SpecRejected("width must be a multiple of heads", pointer="/hyperparameters/heads")
    return Transformer(
        vocabulary=vocabulary,
        context=context,
        width=width,
        layers=wanted.layers or layers,
        heads=heads,
        dropout=wanted.dropout if wanted.dropout is not None else dropout,
        is_causal=is_causal,
    )


def _padded(ids: list[list[int]], length: int) -> tuple[Tensor, Tensor]:
    """-> ids (n, length) cut or padded on the right, mask (n, length) with 1 for a token. A text without a token
    counts as one unknown token."""
    rows = torch.full((len(ids), length), tokens.PAD)
    mask = torch.zeros((len(ids), length), dtype=torch.int64)
    for i, row in enumerate(ids):
        kept = torch.tensor(row[:length] or [tokens.UNKNOWN])
        rows[i, : len(kept)] = kept
        mask[i, : len(kept)] = 1
    return rows, mask


def _trimmed(ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Without the columns that are padding in every row."""
    longest = int(mask.sum(1).max())
    return ids[:, :longest], mask[:, :longest]


def _windows(ids: list[list[int]], context: int, table: Table, column: str) -> Tensor:
    """-> (n, context + 1): all texts one after the other, each between <bos> and <eos>, cut into windows that share
    one token."""
    stream = [token for row in ids for token in (tokens.BEGIN, *row, tokens.END)]
    n_windows = (len(stream) - 1) // context
    if n_windows < 1:
        message = f"the text of {column!r} is shorter than one window of {context} tokens"
        raise table.fault("data_too_few_rows", message, column=column)
    whole = torch.tensor(stream[: n_windows * context + 1])
    return whole.unfold(0, context + 1, context).contiguous()
