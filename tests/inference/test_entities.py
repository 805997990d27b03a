"""Labelled tokens become entities with the strategies that Hugging Face names."""

import numpy as np
import pytest
from inference_worker.entities import Labels
from shared_schemas.models import Aggregation

LABELS = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")
# Micro|soft Ada | Love|lace| in |Lon|don
OFFSETS = [(0, 5), (5, 9), (10, 13), (14, 18), (18, 22), (23, 25), (26, 29), (29, 32)]
BEGINS = [True, False, True, True, False, True, True, False]


def scores(*chosen: tuple[str, float], labels: tuple[str, ...] = LABELS) -> np.ndarray:
    rows = np.full((len(chosen), len(labels)), 0.0)
    for row, (label, score) in zip(rows, chosen, strict=True):
        row[:] = (1 - score) / (len(labels) - 1)
        row[labels.index(label)] = score
    return rows


TEXT = scores(
    ("O", 0.9), ("I-LOC", 0.6), ("B-PER", 0.8), ("I-PER", 0.7), ("I-LOC", 0.9), ("O", 0.9), ("B-LOC", 0.5),
    ("B-LOC", 0.9),
)  # fmt: skip


def found(aggregation: Aggregation) -> list[tuple[str, float, int, int]]:
    return [
        (span.label, round(span.score, 6), span.start, span.end)
        for span in Labels(LABELS, ("O",)).spans(TEXT, OFFSETS, BEGINS, aggregation)
    ]


def test_none_shows_each_token_with_its_prefix() -> None:
    assert found("none") == [
        ("I-LOC", 0.6, 5, 9), ("B-PER", 0.8, 10, 13), ("I-PER", 0.7, 14, 18), ("I-LOC", 0.9, 18, 22),
        ("B-LOC", 0.5, 26, 29), ("B-LOC", 0.9, 29, 32),
    ]  # fmt: skip


def test_simple_joins_neighbours_of_one_label_but_not_two_that_begin() -> None:
    assert found("simple") == [
        ("LOC", 0.6, 5, 9), ("PER", 0.75, 10, 18), ("LOC", 0.9, 18, 22), ("LOC", 0.5, 26, 29), ("LOC", 0.9, 29, 32)
    ]  # fmt: skip


def test_first_takes_the_label_of_the_first_token_of_a_word() -> None:
    assert found("first") == [("PER", 0.75, 10, 22), ("LOC", 0.5, 26, 32)]


def test_max_takes_the_label_of_the_highest_score_in_a_word() -> None:
    assert found("max") == [("PER", 0.8, 10, 13), ("LOC", 0.9, 14, 22), ("LOC", 0.9, 26, 32)]


def test_average_takes_the_label_of_the_highest_mean_in_a_word() -> None:
    assert found("average") == [("PER", 0.8, 10, 13), ("LOC", 0.4875, 14, 22), ("LOC", 0.7, 26, 32)]


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (("S-PER", "B-PER", "E-PER"), [("PER", 0, 5), ("PER", 5, 13)]),
        (("S-PER", "B-PER", "E-MAIL"), [("PER", 0, 5), ("PER", 5, 9), ("MAIL", 10, 13)]),
        (("S-PER", "B-PER", "mail"), [("S-PER", 0, 5), ("PER", 5, 9), ("mail", 10, 13)]),
        (("E-mail", "pre-tax", "post-tax"), [("E-mail", 0, 5), ("pre-tax", 5, 9), ("post-tax", 10, 13)]),
    ],
)
def test_a_prefix_is_one_only_where_all_labels_have_it(
    labels: tuple[str, ...], expected: list[tuple[str, int, int]]
) -> None:
    each = scores(*((label, 0.8) for label in labels), labels=labels)

    spans = Labels(labels, ()).spans(each, OFFSETS[:3], BEGINS[:3], "simple")

    assert [(span.label, span.start, span.end) for span in spans] == expected


def test_ignored_labels_separate_what_is_on_both_sides() -> None:
    each = scores(("I-PER", 0.8), ("O", 0.8), ("I-PER", 0.8))

    assert len(Labels(LABELS, ("O",)).spans(each, OFFSETS[:3], BEGINS[:3], "simple")) == 2
    assert len(Labels(LABELS, ("O", "PER")).spans(each, OFFSETS[:3], BEGINS[:3], "simple")) == 0
    assert len(Labels(LABELS, ()).spans(each, OFFSETS[:3], BEGINS[:3], "none")) == 3
