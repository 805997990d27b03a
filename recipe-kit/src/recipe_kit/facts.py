"""Describes how the data of a job were understood, for its log and for its model's manifest.

A person must be able to see everything that was decided about the data. Knows tables, and neither
the loop nor the model.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from shared_schemas.models import DataFacts
from shared_schemas.specs import TrainingSpec

from recipe_kit import device
from recipe_kit.checkpoint import Vocabulary
from recipe_kit.context import Context
from recipe_kit.separators import name_of
from recipe_kit.tables import Table, listed


def log_start(
    context: Context[Any],
    vocabulary: Vocabulary,
    *,
    notes: Sequence[str],
    lines: Sequence[str],
    baseline: dict[str, float | None],
) -> DataFacts:
    """Log the data, the device and the baseline of a run on tables, before its first step. -> the
    facts for its manifest.

    vocabulary: of the model.
    notes: what was decided about the data and why, one sentence each.
    lines: other lines for the log, such as the numbers of rows and parameters.
    baseline: the metrics of the trivial predictor on the held-out rows, by name.
    """
    table, validation = context.data.table, context.data.validation
    facts = facts_of(context.submitted, table, vocabulary, notes)
    for line in _lines_of(facts, table, validation):
        context.log(line)
    if context.starts_new_run and validation is None:
        context.log("rows that are held out may be among those that the job in resume_from was trained on")
    reached = ", ".join(f"{name} {value:.4g}" for name, value in baseline.items() if value is not None)
    for line in (*lines, f"device {device.describe(context.device)}", f"baseline to beat: {reached}"):
        context.log(line)
    return facts


def facts_of(spec: TrainingSpec, table: Table, vocabulary: Vocabulary, notes: Sequence[str]) -> DataFacts:
    """How the data were understood, for a manifest.

    spec: as it was submitted (`Context.submitted`).
    vocabulary: of the model.
    notes: what was decided about the data and why, one sentence each.
    """
    used = {vocabulary.target, vocabulary.text_column, *vocabulary.features}
    decided = {
        "task": (spec.task, vocabulary.task),
        "text_column": (spec.text_column, vocabulary.text_column),
        "label_column": (spec.label_column, vocabulary.target),
        "feature_columns": (spec.feature_columns, vocabulary.features),
    }
    return DataFacts(
        rows=table.height,
        skipped_rows=table.n_skipped,
        separator=table.dialect.separator,
        text_column=vocabulary.text_column,
        label_column=vocabulary.target,
        unused_columns=tuple(column for column in table.columns if column not in used),
        inferred=tuple(name for name, (given, found) in decided.items() if found and not given),
        notes=(*table.notes, *notes),
    )


def _lines_of(data: DataFacts, table: Table, validation: Table | None) -> Iterator[str]:
    yield f"{data.rows} rows of {listed(table.columns)}, {_separated(table)}"
    roles = {"text": data.text_column, "label": data.label_column}
    parts = [f"{role} {column!r}" for role, column in roles.items() if column]
    if data.inferred:
        parts.append(f"inferred: {', '.join(data.inferred)}")
    if parts:
        yield "; ".join(parts)
    if data.unused_columns:
        yield f"columns that are not used: {listed(data.unused_columns)}"
    yield from data.notes
    if validation is not None:
        yield f"the validation data: {validation.height} rows, {_separated(validation)}"
        yield from (f"the validation data: {note}" for note in validation.notes)


def _separated(table: Table) -> str:
    dialect = table.dialect
    spaces = " and spaces" if dialect.has_spaces else ""
    return f"separated by {name_of(dialect.separator)}{spaces}" + (
        ", as the first line says" if dialect.is_declared else ""
    )
