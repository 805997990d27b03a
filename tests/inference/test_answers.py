"""Scores become an answer: its label, its numbers, and what a replay must give again."""

import numpy as np
import pytest
from inference_worker.classification import classification_of
from inference_worker.tasks.tabular_classification import TabularClassification
from inference_worker.tasks.tabular_regression import Prediction, TabularRegression, predictions_of
from inference_worker.tasks.text_classification import TextClassification
from inference_worker.tasks.text_generation import GeneratedText, TextGeneration
from shared_schemas.codec import encode_json

LABELS = ("red", "green", "blue")


def prediction_of(value: float) -> Prediction:
    [prediction] = predictions_of(np.array([value]))
    return prediction


def test_a_classification_has_the_likeliest_label_and_scores_from_high_to_low() -> None:
    answer = classification_of(np.log(np.array([0.2, 0.5, 0.3], dtype=np.float32)), LABELS)

    assert answer.label == "green"
    assert answer.score == pytest.approx(0.5)
    assert list(answer.scores) == ["green", "blue", "red"]
    assert encode_json(answer).startswith(b'{"label":"green","score":0.')


def test_top_k_limits_the_scores() -> None:
    assert list(classification_of(np.array([1.0, 2.0, 3.0]), LABELS, top_k=2).scores) == ["blue", "green"]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_score_that_is_not_finite_becomes_null_and_is_counted(bad: float) -> None:
    answer = encode_json(classification_of(np.array([bad, 1.0, 2.0]), LABELS))

    assert answer == (b'{"label":null,"score":null,"scores":{"red":null,"green":null,"blue":null},"nonfinite_count":1}')


def test_a_prediction_that_is_not_finite_becomes_null_and_is_counted() -> None:
    assert encode_json(prediction_of(np.nan)) == b'{"prediction":null,"nonfinite_count":1}'
    assert encode_json(prediction_of(2.5)) == b'{"prediction":2.5}'


@pytest.mark.parametrize("task", [TabularClassification, TextClassification])
def test_a_replay_may_differ_in_the_last_bits_of_a_score_and_in_nothing_else(
    task: type[TabularClassification | TextClassification],
) -> None:
    logits = np.array([0.3, 0.1, -0.7])
    same, almost = classification_of(logits + 1e-7, LABELS), classification_of(logits * (1 + 1e-7), LABELS)
    other = classification_of(logits + np.array([0.1, 0.0, 0.0]), LABELS)

    assert task.reproducible(same) == task.reproducible(almost)
    assert task.reproducible(classification_of(logits, LABELS)) != task.reproducible(other)


def test_a_replay_may_differ_in_the_last_bits_of_a_prediction_and_in_nothing_else() -> None:
    reproducible = TabularRegression.reproducible

    assert reproducible(prediction_of(12345.678)) == reproducible(prediction_of(12345.679))
    assert reproducible(prediction_of(1.25)) != reproducible(prediction_of(1.26))
    assert reproducible(prediction_of(np.nan)) == prediction_of(np.nan)


def test_a_replay_writes_every_character_again() -> None:
    text = GeneratedText(text="once", finish_reason="stop", prompt_tokens=1, tokens=2)

    assert TextGeneration.reproducible(text) is text
