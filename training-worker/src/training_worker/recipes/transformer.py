"""The recipe `transformer`, which chooses between two: one for texts with labels, one for texts
alone.

It decides from the spec and the columns. It knows no model and no loop.
"""

from typing import Any

from recipe_kit.context import Context
from recipe_kit.recipe import Recipe, Trained
from recipe_kit.tables import Table, label_column, listed
from shared_schemas.errors import DataRejected, SpecRejected
from shared_schemas.specs import Hyperparameters, TrainingSpec

from training_worker.recipes.language_modeling import LanguageModeling
from training_worker.recipes.text_classification import TextClassification
from training_worker.recipes.texts import SHAPE

_FEWEST_ROWS = 8


class TransformerRecipe(Recipe[Hyperparameters]):
    name = "transformer"
    hyperparameters = Hyperparameters
    shape = SHAPE

    def chosen(self, context: Context[Hyperparameters]) -> TextClassification | LanguageModeling:
        """The classifier if there is a label, else the language model. SpecRejected,
        DataRejected."""
        spec, table = context.spec, context.data.table
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
        return LanguageModeling() if label is None else TextClassification(label)

    def experiment(self, context: Context[Hyperparameters]) -> Any:
        """The data and the model, before training. SpecRejected, DataRejected."""
        return self.chosen(context).experiment(context)

    def train(self, context: Context[Hyperparameters]) -> Trained:
        return self.chosen(context).train(context)


def _label_column(spec: TrainingSpec, table: Table) -> str | None:
    """None if the table has only a text. A table with more columns and no label is rejected,
    because a guess could train the wrong kind of model. SpecRejected, DataRejected."""
    text = None if spec.text_column is None else table.find(spec.text_column)
    columns = table.columns if spec.label_column else [column for column in table.columns if column != text]
    label = label_column(columns, spec.label_column)
    if label is not None and label == text:
        raise SpecRejected("one column is both the text and the label", pointer="/label_column")
    if label is None and (spec.task == "classification" or len(table.columns) > 1):
        message = (
            f"no column is called label, target, class or y: of {listed(table.columns)}, say which is the label_column"
        )
        if spec.task is None:
            message += ", or say task language-modeling to learn from texts alone"
        raise table.fault("data_column_missing", message)
    return label
