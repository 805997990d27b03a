"""The tasks that this worker serves, by the name in a model's manifest. Each has a file of its own.

To add a task, add its name to `shared_schemas.models.Task`, its form of input to `shared_schemas.inputs.INPUT_FORMS`,
and a file here with an entry in TASKS. If its answers have a new shape, add a line for it to `headrace.answer_lines`.
`tests/inference/test_tasks.py` says which of these is missing.

A task has these other places because a gateway checks inputs and a client shows answers, and neither has numpy.
"""

from inference_worker.tasks.image_classification import ImageClassification
from inference_worker.tasks.rerank import Rerank
from inference_worker.tasks.tabular_classification import TabularClassification
from inference_worker.tasks.tabular_regression import TabularRegression
from inference_worker.tasks.task import TaskType
from inference_worker.tasks.tensors import Tensors
from inference_worker.tasks.text_classification import TextClassification
from inference_worker.tasks.text_embedding import TextEmbedding
from inference_worker.tasks.text_generation import TextGeneration
from inference_worker.tasks.token_classification import TokenClassification

TASKS: dict[str, TaskType] = {
    "image-classification": ImageClassification,
    "rerank": Rerank,
    "tabular-classification": TabularClassification,
    "tabular-regression": TabularRegression,
    "tensors": Tensors,
    "text-classification": TextClassification,
    "text-embedding": TextEmbedding,
    "text-generation": TextGeneration,
    "token-classification": TokenClassification,
}
