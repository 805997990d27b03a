"""A model without a name is named after its type and file, and two files give two names."""

from itertools import combinations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from shared_schemas.ids import ModelName
from training_worker.naming import default_model_name

# Each list: names of different files that differ only in characters that a model's name cannot have.
UNALIKE = [
    ["\u65e5\u672c\u8a9e.csv", "\u043e\u0442\u0437\u044b\u0432\u044b.csv", "\u4e2d\u6587.csv",
     "\u05e9\u05dc\u05d5\u05dd.csv", "\u0645\u0631\u062d\u0628\u0627.csv"],
    ["\u043e\u0442\u0437\u044b\u0432\u044b 2024.csv", "\u043f\u0440\u043e\u0433\u043d\u043e\u0437 2024.csv",
     "2024.csv", "\u6570\u636e2024.csv"],
    ["\u0434\u0430\u043d\u043d\u044b\u0435-train.csv", "\u0442\u0435\u043a\u0441\u0442\u044b-train.csv", "train.csv"],
    ["M\u00fcller.csv", "M\u00f6ller.csv", "Mller.csv", "M-ller.csv"],
    ["Gr\u00f6\u00dfe.csv", "Gr\u00fc\u00dfe.csv"],
    ["\u00e9.csv", "\u00e8.csv", "\u00e9 1.csv", "\u00e8 1.csv", "1.csv"],
    ["\U0001f600.csv", "\U0001f601.csv", "party \U0001f600.csv", "party.csv"],
    ["\u0967\u0968\u0969.csv", "\u0661\u0662\u0663.csv", "123.csv"],
    ["x" * 100 + "january.csv", "x" * 100 + "february.csv", "x" * 63 + ".csv"],
    ["+++.csv", "***.csv", "-.csv", "_.csv"],
    ["C.csv", "C++.csv", "C#.csv"],
    ["temp+5.csv", "temp-5.csv", "temp=5.csv"],
    ["prix \u20ac.csv", "prix $.csv", "prix.csv"],
    ["q50%.csv", "q50.csv"],
]  # fmt: skip


@pytest.mark.parametrize("files", UNALIKE)
def test_files_whose_names_differ_only_in_lost_characters_give_two_names(files: list[str]) -> None:
    names = {file: default_model_name("mlp", file) for file in files}

    assert all(names[a] != names[b] for a, b in combinations(files, 2)), names
    assert "mlp" not in names.values()


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("/data/train.csv", "mlp-train"),
        ("sets/2024.csv", "mlp-2024"),
        ("My Data (1) \u00e9.csv", "mlp-my-data-1"),
        ("sets/Gro\u00dfe Daten (2).csv", "mlp-gro-e-daten-2"),
        ("a.b_c-d.csv", "mlp-a.b_c-d"),
        ("Sales \u2013 \u201cnorth\u201d.csv", "mlp-sales-north"),
    ],
)
def test_a_name_that_identifies_its_file_gets_no_digest(file: str, name: str) -> None:
    assert default_model_name("mlp", file) == name


def test_a_file_has_one_name_however_its_accents_are_written() -> None:
    assert default_model_name("mlp", "Mu\u0308ller.csv") == default_model_name("mlp", "M\u00fcller.csv")
    assert default_model_name("mlp", "TRAIN.csv") == default_model_name("mlp", "train.csv")


@given(st.from_regex(r"[a-z0-9][a-z0-9_-]{0,62}", fullmatch=True), st.text(min_size=1, max_size=300))
def test_every_file_gives_a_name_that_a_model_may_have(model_type: str, data_path: str) -> None:
    name = default_model_name(model_type, data_path)

    assert msgspec.convert(name, ModelName) == name
    assert name != model_type
