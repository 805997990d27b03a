"""Rows are padded, stacked into batches and split again."""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from inference_worker.tensors import Row, Rows, padded_length, softmax, split, stack, text_row


@given(length=st.integers(1, 5000), longest=st.integers(8, 5000))
def test_padding_holds_the_text_stays_in_the_context_and_wastes_at_most_a_third(length: int, longest: int) -> None:
    length = min(length, longest)
    padded = padded_length(length, longest=longest)

    assert length <= padded <= longest
    assert padded <= max(16, 1.5 * length)


def test_few_different_lengths_are_used() -> None:
    assert sorted({padded_length(n, longest=256) for n in range(1, 257)}) == [16, 24, 32, 48, 64, 96, 128, 192, 256]


def test_a_text_is_padded_on_the_right_and_masked() -> None:
    row = text_row([5, 6, 7], longest=8, pad=9)

    assert row.inputs["input_ids"].tolist() == [5, 6, 7, 9, 9, 9, 9, 9]
    assert row.inputs["attention_mask"].tolist() == [1, 1, 1, 0, 0, 0, 0, 0]


def test_what_is_stacked_is_split_again_each_row_at_its_own_position() -> None:
    rows = [Row({"x": np.arange(6.0).reshape(3, 2) + 10 * i}, take=i) for i in range(3)]

    parts = split(stack([row.rows(0, 1) for row in rows]), [1, 1, 1])

    answers = [row.answer(part)["x"].tolist() for row, part in zip(rows, parts, strict=True)]
    assert answers == [[0.0, 1.0], [12.0, 13.0], [24.0, 25.0]]


def test_parts_of_several_rows_are_stacked_beside_single_rows() -> None:
    several = Rows({"x": np.arange(10.0).reshape(5, 2)})
    single = Row({"x": np.array([7.0, 8.0])})
    assert (several.shape, several.n_elements, several.n_rows) == (single.shape, single.n_elements, 5)

    stacked = stack([several.rows(1, 3), single.rows(0, 1), several.rows(3, 5)])
    parts = split(stacked, [2, 1, 2])

    assert stacked["x"].tolist() == [[2, 3], [4, 5], [7, 8], [6, 7], [8, 9]]
    assert several.answer(parts[2])["x"].tolist() == [[6, 7], [8, 9]]
    assert single.answer(parts[1])["x"].tolist() == [7, 8]


def test_a_row_does_not_keep_its_batch_in_memory() -> None:
    items = [Row({"x": np.zeros(4)}), Rows({"x": np.zeros((2, 4))})]
    parts = split(stack([item.rows(0, item.n_rows) for item in items]), [1, 2])

    assert all(item.answer(part)["x"].base is None for item, part in zip(items, parts, strict=True))


def test_an_output_without_a_batch_dimension_is_refused() -> None:
    with pytest.raises(ValueError, match="expected 2 rows"):
        split({"y": np.zeros(3)}, [1, 1])
    with pytest.raises(ValueError, match="expected 2 rows"):
        split({"y": np.zeros(())}, [2])


@given(st.lists(st.floats(-(2.0**99), 2.0**99, width=32), min_size=1, max_size=20))
def test_softmax_sums_to_one_however_large_the_logits(logits: list[float]) -> None:
    assert softmax(np.array(logits, dtype=np.float32)).sum() == pytest.approx(1.0)
