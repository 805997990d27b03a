"""Inputs that people pass: converted if they have a JSON form, else refused
with their type and place."""

import array
import collections
import dataclasses
import datetime
import decimal
import enum
import io
import json
import pathlib
import uuid
from fractions import Fraction
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest
from headrace import Client, Hyperparameters, InferenceSpec, InvalidJob, JobKind, TrainingSpec
from headrace.endpoints import list_jobs, submit, submit_list
from headrace.values import plain


class Colour(enum.Enum):
    RED = "red"


class Size(enum.IntEnum):
    LARGE = 3


@dataclasses.dataclass
class Wine:
    size: float
    cells: list[Any]


class Point(msgspec.Struct, rename={"x": "X"}):
    x: float


class Model:
    """Like a model of pydantic."""

    def model_dump(self) -> dict[str, Any]:
        return {"size": np.float32(1.5)}


class ArrayLike:
    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return np.array([1, 2])


class Frame:
    """Like a DataFrame of polars, which has no `to_dict` of rows."""

    columns = ("size", "name")

    def to_dict(self) -> dict[str, Any]:
        raise AssertionError("a column a key")

    def to_dicts(self) -> list[dict[str, Any]]:
        return [{"size": 1.5, "name": "a"}]


class Column:
    """Like a Series of polars."""

    def to_list(self) -> list[int]:
        return [1, 2]


class LazyFrame:
    """Like the object in polars."""

    columns = ("size", "name")

    def collect(self) -> Frame:
        return Frame()


Pair = collections.namedtuple("Pair", "a b")
FRAME = pd.DataFrame({"size": [1.5, 2.5], "name": ["a", "b"]})


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"size": np.float32(3), "year": np.int64(2024)}, {"size": 3.0, "year": 2024}),
        (np.float64(3), 3.0),
        (np.float16(0.5), 0.5),
        (np.longdouble(1.5), 1.5),
        (np.bool_(True), True),
        (np.uint8(7), 7),
        (np.str_("a"), "a"),
        (np.array(3.0), 3.0),
        (np.array([3.0, 2024.0]), [3.0, 2024.0]),
        (np.array([[3, 4], [5, 6]], dtype=np.float16), [[3.0, 4.0], [5.0, 6.0]]),
        (np.array([True, False]), [True, False]),
        (np.array(["a", "b"]), ["a", "b"]),
        (np.array([None, np.float32(1), {"a": np.int8(1)}], dtype=object), [None, 1.0, {"a": 1}]),
        (np.array([np.longdouble(1)]), [1.0]),
        (np.ma.array([1, 2], mask=[False, True]), [1, None]),
        (np.arange(6).reshape(2, 3)[:, ::2], [[0, 2], [3, 5]]),
        ([np.array([1.0]), (np.int32(2),)], [[1.0], [2]]),
        (np.datetime64("2030-01-31"), "2030-01-31"),
        (np.array(["2030-01-31T12:00:00.000000001"], dtype="M8[ns]"), ["2030-01-31T12:00:00.000000001"]),
        (pd.Series([1, 2]), [1, 2]),
        (pd.Series([1, 2], dtype="Int64"), [1, 2]),
        (pd.Series(["a", "b"], dtype="category"), ["a", "b"]),
        (FRAME, [{"size": 1.5, "name": "a"}, {"size": 2.5, "name": "b"}]),
        (FRAME.iloc[0], {"size": 1.5, "name": "a"}),
        (FRAME["size"], [1.5, 2.5]),
        (FRAME.to_numpy(), [[1.5, "a"], [2.5, "b"]]),
        (FRAME.columns, ["size", "name"]),
        (pd.array([1, 2]), [1, 2]),
        (pd.Timestamp("2030-01-31T12:00:00Z"), "2030-01-31T12:00:00+00:00"),
        (pd.to_datetime(pd.Series(["2030-01-31"])), ["2030-01-31T00:00:00"]),
        (Frame(), [{"size": 1.5, "name": "a"}]),
        (Column(), [1, 2]),
        (ArrayLike(), [1, 2]),
        (array.array("d", [1, 2]), [1.0, 2.0]),
        (Colour.RED, "red"),
        (Size.LARGE, 3),
        ({Colour.RED: Size.LARGE}, {"red": 3}),
        ({1: "a", np.int64(2): "b"}, {"1": "a", "2": "b"}),
        (JobKind.TRAINING, "training"),
        (pathlib.PurePosixPath("a/b.csv"), "a/b.csv"),
        (datetime.datetime(2030, 1, 31, 12, tzinfo=datetime.UTC), "2030-01-31T12:00:00+00:00"),
        (datetime.date(2030, 1, 31), "2030-01-31"),
        (decimal.Decimal("1.5"), 1.5),
        (Fraction(1, 2), 0.5),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (Wine(1.5, [np.int8(1)]), {"size": 1.5, "cells": [1]}),
        (Point(np.float32(1.5)), {"X": 1.5}),
        (Model(), {"size": 1.5}),
        (Pair(1, 2), [1, 2]),
        (collections.OrderedDict(a=1), {"a": 1}),
        (collections.deque([1]), [1]),
        (range(2), [0, 1]),
        ((n for n in (1, 2)), [1, 2]),
        (map(str, (1, 2)), ["1", "2"]),
        ({"a": 1}.values(), [1]),
        ({"a": 1}.keys(), ["a"]),
        (msgspec.Raw(b"[1]"), [1]),
        ([None, True, 2**63, -(2**63), "ü"], [None, True, 2**63, -(2**63), "ü"]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_has_a_plain_form_is_taken(given: Any, expected: Any) -> None:
    made = plain(given, "input_data")

    assert made == expected
    # Exact types: a value of a library's type would be written by the rules of that library.
    assert type(made) in (dict, list, str, float, int, bool)
    assert json.loads(json.dumps(made)) == expected


NAN = float("nan")


def endless() -> list[Any]:
    made: list[Any] = []
    made.append(made)
    return made


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (NAN, "input_data is NaN"),
        ([{"size": 1.0}, {"size": NAN}], "input_data[1]['size'] is NaN"),
        ({"size": float("inf")}, "input_data['size'] is infinite"),
        (np.array([1.0, -np.inf]), "input_data[1] is infinite"),
        (np.float32("nan"), "input_data is NaN"),
        (pd.DataFrame({"size": [1.0, None]}), "input_data[1]['size'] is NaN"),
        (decimal.Decimal("NaN"), "input_data is NaN"),
        (decimal.Decimal("1e400"), "input_data is infinite"),
        (pd.Series([1, None], dtype="Int64"), "input_data[1] is a missing value (NA)"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "two of its cells have one name"),
        (pd.Series([1, 2], index=["a", "a"]), "two of its cells have one name"),
        (pd.NaT, "input_data is a missing value (NaT)"),
        (np.array(["NaT"], dtype="M8[s]"), "missing time (NaT)"),
        ({1, 2}, "input_data is a set, which has no order"),
        ([frozenset()], "input_data[0] is a frozenset"),
        (b"x", "input_data is a bytes: decode"),
        (bytearray(b"x"), "input_data is a bytearray: decode"),
        (np.bytes_(b"x"), "decode"),
        (datetime.timedelta(1), "input_data is a timedelta: give its seconds"),
        (np.timedelta64(1, "s"), "seconds"),
        (pd.Timedelta(1), "seconds"),
        (1j, "input_data is a complex"),
        (np.complex64(1j), "input_data is a complex"),
        (np.array([1j]), "input_data[0] is a complex"),
        (2**64, "more than 64 bits"),
        (object(), "input_data is an object, which JSON cannot hold"),
        (len, "input_data is a builtin_function_or_method"),
        (int, "input_data is a type"),
        (io.StringIO("x"), "input_data is a StringIO"),
        (LazyFrame(), "input_data is a LazyFrame"),
        ({(1, 2): 3}, "input_data has a key that is a tuple"),
        ({None: 3}, "input_data has a key that is a NoneType"),
        ({"1": 1, 1: 2}, "input_data has two keys that are both written '1'"),
        ("\ud800", "input_data holds half a character"),
        ({"a\udfff": 1}, "input_data holds half a character"),
        (endless(), "nested more than"),
    ],
    ids=lambda value: None if isinstance(value, str) else type(value).__name__,
)
def test_what_has_none_is_refused_by_name_and_place(given: Any, message: str) -> None:
    with pytest.raises(InvalidJob) as caught:
        plain(given, "input_data")

    assert message in str(caught.value)


def test_what_does_not_convert_is_named_without_what_it_says_of_itself() -> None:
    class Scalar:
        def item(self) -> object:
            raise RuntimeError("a secret value")

    with pytest.raises(InvalidJob, match=r"input_data\[1\] is a Scalar.*RuntimeError") as caught:
        plain([1, Scalar()], "input_data")

    assert "secret" not in str(caught.value)


def test_tensors_are_taken_as_arrays_are() -> None:
    import torch

    assert plain(torch.tensor([[1.0, 2.0]], requires_grad=True), "input_data") == [[1.0, 2.0]]
    assert plain({"n": torch.tensor(3)}, "input_data") == {"n": 3}
    assert plain(torch.tensor([1.5], dtype=torch.bfloat16), "input_data") == [1.5]
    with pytest.raises(InvalidJob, match=r"input_data\[0\] is NaN"):
        plain(torch.tensor([NAN]), "input_data")
    with pytest.raises(InvalidJob, match="input_data is a Tensor"):
        plain(torch.zeros(2).to_sparse(), "input_data")


def body_of(kind: JobKind, spec: Any = None, **fields: Any) -> dict[str, Any]:
    sent = submit(kind, spec, fields, idempotency_key=None).body
    assert sent is not None
    made = json.loads(sent)
    assert made.pop("kind") == kind
    return made


def test_options_are_taken_as_they_are_meant() -> None:
    assert body_of(
        JobKind.TRAINING,
        model_type=Colour.RED,
        data_path=pathlib.Path("wine.csv"),
        priority="high",
        seed=np.int64(7),
        tags=("a", np.str_("b")),
        task=None,
        retry=None,
        run_at=datetime.datetime(2030, 1, 31, tzinfo=datetime.UTC),
        hyperparameters={"epochs": 3.0, "width": None, "learning_rate": np.float32(0.5)},
    ) == {
        "model_type": "red",
        "data_path": "wine.csv",
        "priority": "high",
        "seed": 7,
        "tags": ["a", "b"],
        "run_at": "2030-01-31T00:00:00Z",
        "hyperparameters": {"epochs": 3, "learning_rate": 0.5},
    }


def test_an_input_means_what_it_says() -> None:
    assert body_of(JobKind.INFERENCE, model_id="m", input_data=[None, 5.0])["input_data"] == [None, 5.0]


@pytest.mark.parametrize(
    "spec",
    [
        TrainingSpec(model_type="mlp", data_path=pathlib.Path("x.csv"), hyperparameters=Hyperparameters(epochs=2)),  # type: ignore[arg-type]
        {"model_type": "mlp", "data_path": pathlib.Path("x.csv"), "hyperparameters": Hyperparameters(epochs=2)},
        {"kind": "training", "model_type": "mlp", "data_path": "x.csv", "hyperparameters": {"epochs": 2}},
    ],
    ids=["spec", "mapping", "mapping with its kind"],
)
def test_a_spec_and_a_mapping_are_checked_as_keywords_are(spec: Any) -> None:
    assert body_of(JobKind.TRAINING, spec) == {
        "model_type": "mlp", "data_path": "x.csv", "hyperparameters": {"epochs": 2}
    }  # fmt: skip


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"model_type": "mlp", "data_path": "x", "seed": NAN}, "seed is NaN"),
        ({"model_type": "mlp", "data_path": "x", "tags": {"a"}}, "tags is a set"),
        ({"model_type": "mlp", "data_path": "x", "hyperparameters": {"epochs": 2.5}}, "epochs"),
        ({"model_type": "mlp", "data_path": "x", "run_at": datetime.datetime(2030, 1, 1)}, "run_at"),
        ({"model_type": "mlp", "data_path": "x", "unheard_of": 1}, "unheard_of"),
        ({"model_type": "mlp", "data_path": b"x"}, "data_path is a bytes"),
        ({"model_type": "mlp"}, "data_path"),
    ],
)
def test_keywords_that_make_no_job_say_which(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidJob, match=message):
        body_of(JobKind.TRAINING, **fields)


TRAINING = {"model_type": "mlp", "data_path": "x.csv"}
INFERENCE = {"model_id": "m", "input_data": [1]}


@pytest.mark.parametrize(
    ("jobs", "kind", "n"),
    [
        ([TRAINING], "training", 1),
        ([TRAINING | {"kind": "training"}, TrainingSpec(**TRAINING)], "training", 2),
        ([INFERENCE, InferenceSpec(**INFERENCE)], "inference", 2),
        ((TRAINING for _ in range(3)), "training", 3),
    ],
)
def test_a_list_takes_mappings_and_finds_their_kind(jobs: Any, kind: str, n: int) -> None:
    request = submit_list(jobs, idempotency_key=None)

    assert request.path == f"/jobs/{kind}"
    assert len(json.loads(request.body or b"")) == n


@pytest.mark.parametrize(
    ("jobs", "message"),
    [
        ([], "at least one"),
        ([TRAINING, INFERENCE], "one kind"),
        ([TRAINING, {"x": 1}], "jobs[1] is not a job"),
        ([TRAINING | INFERENCE], "jobs[0] is not a job"),
        ([TRAINING, 3], "jobs[1] is not a job"),
        ([TRAINING | {"kind": "other"}], "jobs[0] is not a job"),
        ([TRAINING, TRAINING | {"seed": "x"}], "jobs[1]: "),
        ([INFERENCE, {"model_id": "m", "input_data": [{"a": NAN}]}], "jobs[1].input_data[0]['a'] is NaN"),
        (TRAINING, "a list of jobs"),
        ("x", "a list of jobs"),
    ],
)
def test_a_list_that_is_none_says_which_job_is_wrong(jobs: Any, message: str) -> None:
    with pytest.raises(InvalidJob) as caught:
        submit_list(jobs, idempotency_key=None)

    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda client: client.list(state="sleeping"), "scheduled, queued, running"),
        (lambda client: client.list(states=["failed", "sleeping"]), "scheduled, queued, running"),
        (lambda client: client.list(kind="trainig"), "training, inference"),
        (lambda client: client.dead_letters(kind="trainig"), "training, inference"),
        (lambda client: client.submit_body("trainig", b"{}"), "training, inference"),
        (lambda client: client.job(None), "named by its id"),
        (lambda client: client.job(""), "named by its id"),
        (lambda client: client.status(".."), "named by its id"),
        (lambda client: client.submit_training(**TRAINING, idempotency_key="ü"), "printable ASCII"),
        (lambda client: client.submit_training(**TRAINING, idempotency_key=5), "printable ASCII"),
        (lambda client: next(client.follow("x", after="1")), "a whole number"),
        (lambda client: next(client.follow("x", after=-1)), "a whole number"),
        (lambda client: next(client.follow("x", after=1.5)), "a whole number"),
        (lambda client: next(client.follow("x", timeout_s=NAN)), "a number of seconds"),
        (lambda client: client.wait("x", timeout_s="5"), "a number of seconds"),
        (lambda client: client.wait("x", timeout_s=datetime.timedelta(seconds=1)), "a number of seconds"),
    ],
)
def test_what_there_is_not_is_refused_at_once_with_what_there_is(ask: Any, message: str) -> None:
    with Client() as client, pytest.raises(InvalidJob, match=message):
        ask(client)


def test_a_key_may_be_a_uuid_and_no_states_are_all_states() -> None:
    key = uuid.uuid4()

    assert submit_list([TRAINING], idempotency_key=key).headers["idempotency-key"] == str(key)
    assert list_jobs(states=None).params == list_jobs().params
