"""Every task has a file in the worker, a form of input, and a line for its answers in the client."""

import importlib
import re
from typing import get_args

import msgspec
import numpy as np
import pytest
from headrace import answer_lines
from inference_worker import tasks
from inference_worker.classification import classification_of
from inference_worker.tasks import TASKS
from inference_worker.tasks.rerank import RankedDocument, ranking_of
from inference_worker.tasks.tabular_regression import predictions_of
from inference_worker.tasks.tensors import answers_of
from inference_worker.tasks.text_embedding import EmbeddedText
from inference_worker.tasks.text_generation import GeneratedText
from inference_worker.tasks.token_classification import Entity, LabelledText
from shared_schemas.codec import encode_json
from shared_schemas.inputs import INPUT_FORMS
from shared_schemas.models import Task

from tests.support.gateways import ROOT

VOCABULARY = get_args(Task)
WORKER = ROOT / "inference-worker/src/inference_worker"
CLASSIFIED = classification_of(np.array([0.5, 1.5]), ("sad", "glad"))
ANSWERS: dict[str, msgspec.Struct] = {
    "image-classification": CLASSIFIED,
    "rerank": ranking_of([RankedDocument(index=i, relevance_score=i / 9) for i in range(9)]),
    "tabular-classification": CLASSIFIED,
    "tabular-regression": predictions_of(np.array([2.5]))[0],
    "tensors": answers_of({"y": np.array([[0.5, np.nan]])}, {"y": "float64"}),
    "text-classification": CLASSIFIED,
    "text-embedding": EmbeddedText(embedding=[0.6, -0.8], tokens=3),
    "token-classification": LabelledText(
        entities=(Entity(label="PER", score=0.9, start=0, end=3, text="Ada"),), tokens=5
    ),
    "text-generation": GeneratedText(text="once", finish_reason="stop", prompt_tokens=1, tokens=2),
}


def test_every_task_and_nothing_else_has_its_places() -> None:
    assert set(TASKS) == set(INPUT_FORMS) == set(ANSWERS) == set(VOCABULARY)


@pytest.mark.parametrize("task", VOCABULARY)
def test_a_task_has_a_file_of_its_own_that_names_where_its_input_is_checked(task: str) -> None:
    module = importlib.import_module(f"{tasks.__name__}.{task.replace('-', '_')}")
    checks_input = type(INPUT_FORMS[task])
    elsewhere = importlib.import_module(checks_input.__module__)

    assert TASKS[task].__module__ == module.__name__
    assert elsewhere.__name__ in (module.__doc__ or "")
    assert module.__name__.rpartition(".")[2] in (elsewhere.__doc__ or "")


@pytest.mark.parametrize("task", VOCABULARY)
def test_the_client_has_a_line_for_the_answers_of_a_task(task: str) -> None:
    shown = answer_lines.answer(msgspec.json.decode(encode_json(ANSWERS[task]))).plain

    assert shown.strip()
    assert "{" not in shown


def test_no_task_is_named_in_the_worker_outside_its_file() -> None:
    named = re.compile("|".join(f"['\"]{task}['\"]" for task in VOCABULARY) + r"|task\.(starts|ends)with")

    places = {path.relative_to(WORKER).as_posix() for path in WORKER.rglob("*.py") if named.search(path.read_text())}

    assert places <= {"tasks/__init__.py", *(f"tasks/{task.replace('-', '_')}.py" for task in VOCABULARY)}
    assert "tasks/__init__.py" in places
