"""How the data of a job was understood, for its log and its model's manifest: nothing is decided in silence. Pure."""

from collections.abc import Iterator

from shared_schemas.models import DataFacts
from shared_schemas.specs import TrainingSpec

from recipe_kit.recipe import Prepared
from recipe_kit.separators import name_of
from recipe_kit.tables import Table, seen


def facts_of(spec: TrainingSpec, table: Table, prepared: Prepared) -> DataFacts:
    """spec: as it was submitted."""
    used = {prepared.target, prepared.text_column, *prepared.features}
    decided = {
        "task": (spec.task, prepared.task),
        "text_column": (spec.text_column, prepared.text_column),
        "label_column": (spec.label_column, prepared.target),
        "feature_columns": (spec.feature_columns, prepared.features),
    }
    return DataFacts(
        rows=table.height,
        skipped_rows=table.n_skipped,
        separator=table.dialect.separator,
        text_column=prepared.text_column,
        label_column=prepared.target,
        unused_columns=tuple(column for column in table.columns if column not in used),
        inferred=tuple(name for name, (said, found) in decided.items() if found and not said),
        notes=(*table.notes, *prepared.notes),
    )


def told_of(data: DataFacts, table: Table, validation: Table | None) -> Iterator[str]:
    """Lines for the log."""
    yield f"{data.rows} rows of {seen(table.columns)}, {_separated(table)}"
    roles = {"text": data.text_column, "label": data.label_column}
    told = [f"{role} {column!r}" for role, column in roles.items() if column]
    if data.inferred:
        told.append(f"inferred: {', '.join(data.inferred)}")
    if told:
        yield "; ".join(told)
    if data.unused_columns:
        yield f"columns that are not used: {seen(data.unused_columns)}"
    yield from data.notes
    if validation is not None:
        yield f"the validation data: {validation.height} rows, {_separated(validation)}"
        yield from (f"the validation data: {note}" for note in validation.notes)


def _separated(table: Table) -> str:
    dialect = table.dialect
    spaces = " and spaces" if dialect.has_spaces else ""
    return f"separated by {name_of(dialect.separator)}{spaces}" + (
        ", as the first line says" if dialect.is_said else ""
    )
