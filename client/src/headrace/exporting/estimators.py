"""Estimators of scikit-learn as ONNX files, by skl2onnx. Knows no gateway and no job.

A classifier of numbers becomes a model of the task tabular-classification: its probabilities become logits,
so that the softmax of the worker gives them again. A regressor of one target becomes tabular-regression. All
others become models of tensors.
"""

import warnings
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
import numpy as np
import onnx
from numpy.typing import NDArray
from skl2onnx import to_onnx  # type: ignore[import-untyped]
from skl2onnx.common.data_types import (  # type: ignore[import-untyped]
    DoubleTensorType,
    FloatTensorType,
    StringTensorType,
)
from sklearn.base import BaseEstimator, is_classifier, is_regressor  # type: ignore[import-untyped]
from sklearn.compose import ColumnTransformer  # type: ignore[import-untyped]
from sklearn.exceptions import NotFittedError  # type: ignore[import-untyped]
from sklearn.utils.validation import check_is_fitted  # type: ignore[import-untyped]

from headrace.errors import ExportFailed, InvalidJob
from headrace.exporting import Exported
from headrace.exporting.agreement import Trial, reason_of

Array = NDArray[Any]
_BATCH = "batch"
_TENSORS, _CLASSES, _NUMBER = "tensors", "tabular-classification", "tabular-regression"
_TASKS = (_CLASSES, _NUMBER, _TENSORS)


class _Rows(msgspec.Struct, frozen=True, eq=False):
    """An example. given: as the estimator takes it. inputs: the same by the names of the graph's inputs, in
    float32 or as texts. features: the names of the columns, if `features` is the only input. may_be_double:
    whether float64 says more."""

    given: Any
    inputs: dict[str, Array]
    features: tuple[str, ...]
    may_be_double: bool


def export(estimator: BaseEstimator, example: object, given: Mapping[str, Any]) -> Exported:
    """example: rows as `predict` takes them: numbers [rows, features], a table with names of columns, or a
    list of texts. ExportFailed, InvalidJob."""
    try:
        check_is_fitted(estimator)
    except NotFittedError:
        raise ExportFailed("the estimator is not fitted") from None
    rows = _rows_of(estimator, example)
    task = given.get("task") or _task_of(estimator, rows)
    if task not in _TASKS or (task != _TENSORS and not rows.features):
        raise InvalidJob(f"an estimator of these rows becomes a model of the task {_task_of(estimator, rows)}")
    shown: dict[str, Any] = {"task": task}
    if task != _TENSORS:
        shown["features"] = rows.features
    if task == _CLASSES:
        shown["labels"] = _labels_of(estimator)
    expected = _expected(estimator, rows.given, task)
    try:
        proto = _checked(estimator, rows, task, expected, np.float32)
    except ExportFailed:
        if not rows.may_be_double:
            raise
        # Some models, such as Gaussian processes, need the digits that float32 does not have.
        proto = _checked(estimator, rows, task, expected, np.float64)
    if task == _TENSORS and all(_first_dimension(value) == _BATCH for value in proto.graph.output):
        shown["batch_axis"] = _BATCH
    return Exported(contents=bytes(proto.SerializeToString()), shown=shown)


def _checked(
    estimator: BaseEstimator, rows: _Rows, task: str, expected: Array, dtype: type[np.floating[Any]]
) -> onnx.ModelProto:
    """The model, after it has given what is expected."""
    inputs = {name: each.astype(dtype) if each.dtype != object else each for name, each in rows.inputs.items()}
    if rows.may_be_double:
        inputs = {"features": np.asarray(rows.given, dtype=dtype)}
    proto = _converted(estimator, inputs)
    _name_outputs(proto, task)
    output = proto.graph.output[0]
    if expected.ndim == 1 and len(output.type.tensor_type.shape.dim) == 2:
        expected = expected.reshape(-1, 1)
    read = np.exp if task == _CLASSES else np.asarray
    trial = Trial(bytes(proto.SerializeToString()))
    for wanted, n_rows in ((expected, len(expected)), (expected[:1], 1)):
        given = {name: each[:n_rows] for name, each in inputs.items()}
        what = "the example" if n_rows > 1 else "one row of the example"
        trial.compare(given, {output.name: wanted}, what, read=read)
    return proto


def _converted(estimator: BaseEstimator, inputs: Mapping[str, Array]) -> onnx.ModelProto:
    types = [(name, _type_of(each)([None, each.shape[1]])) for name, each in inputs.items()]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            proto = _without_maps(estimator, types)
        except Exception as error:  # a converter may raise any class for what it does not know
            raise ExportFailed(f"skl2onnx cannot convert this estimator: {reason_of(error)}") from error
    for value in (*proto.graph.input, *proto.graph.output):
        dimensions = value.type.tensor_type.shape.dim if value.type.HasField("tensor_type") else ()
        if dimensions and not dimensions[0].dim_value:
            dimensions[0].dim_param = _BATCH
    return proto


def _first_dimension(value: onnx.ValueInfoProto) -> str:
    dimensions = value.type.tensor_type.shape.dim
    return str(dimensions[0].dim_param) if dimensions else ""


def _without_maps(estimator: BaseEstimator, types: list[tuple[str, Any]]) -> onnx.ModelProto:
    try:
        return to_onnx(estimator, initial_types=types, options={"zipmap": False})  # type: ignore[no-any-return]
    except NameError:  # most estimators do not know this option, and make no maps
        return to_onnx(estimator, initial_types=types)  # type: ignore[no-any-return]


def _name_outputs(proto: onnx.ModelProto, task: str) -> None:
    """Give the graph the only output that the task reads."""
    if task == _TENSORS:
        return
    graph = proto.graph
    is_class = task == _CLASSES
    if len(graph.output) != (2 if is_class else 1):
        raise ExportFailed(f"skl2onnx made {len(graph.output)} outputs of this estimator; publish it as tensors")
    made = graph.output[1 if is_class else 0]
    kind = onnx.helper.tensor_dtype_to_np_dtype(made.type.tensor_type.elem_type)
    if is_class:
        # The logarithm of 0 would be no number that an answer can have.
        graph.initializer.append(onnx.numpy_helper.from_array(np.array(np.finfo(kind).tiny, kind), "headrace_tiny"))
        graph.node.append(onnx.helper.make_node("Max", [made.name, "headrace_tiny"], ["headrace_positive"]))
        graph.node.append(onnx.helper.make_node("Log", ["headrace_positive"], ["logits"]))
    else:
        graph.node.append(onnx.helper.make_node("Identity", [made.name], ["prediction"]))
    output = onnx.ValueInfoProto()
    output.CopyFrom(made)
    output.name = "logits" if is_class else "prediction"
    del graph.output[:]
    graph.output.append(output)


def _expected(estimator: BaseEstimator, given: Any, task: str) -> Array:
    """What the first output of the model has to be."""
    try:
        if task == _CLASSES:
            return np.asarray(estimator.predict_proba(given))
        answers = estimator.predict(given) if hasattr(estimator, "predict") else estimator.transform(given)
    except Exception as error:  # whatever the estimator raises for rows that it does not take
        raise ExportFailed(f"the estimator does not take the example: {reason_of(error)}") from error
    if not isinstance(answers, np.ndarray):
        raise ExportFailed(f"the estimator answers with {type(answers).__name__}, not with an array")
    return answers


def _task_of(estimator: BaseEstimator, rows: _Rows) -> str:
    if rows.features and is_classifier(estimator) and hasattr(estimator, "predict_proba"):
        # With several targets it is a list.
        return _CLASSES if isinstance(getattr(estimator, "classes_", None), np.ndarray) else _TENSORS
    if rows.features and is_regressor(estimator) and _expected(estimator, rows.given, _TENSORS).ndim == 1:
        return _NUMBER
    return _TENSORS


def _labels_of(estimator: BaseEstimator) -> tuple[str, ...]:
    if not hasattr(estimator, "predict_proba") or not isinstance(getattr(estimator, "classes_", None), np.ndarray):
        raise InvalidJob("the estimator has no probabilities of classes: publish it with the task tensors")
    return tuple(str(label) for label in estimator.classes_.tolist())


def _rows_of(estimator: BaseEstimator, example: Any) -> _Rows:
    columns = getattr(example, "columns", None)
    if columns is not None:
        return _rows_of_table(estimator, example, [str(name) for name in columns])
    try:
        array = np.asarray(example)
    except ValueError:
        array = np.empty(0, object)
    if array.ndim == 1 and len(array) and all(isinstance(each, str) for each in array.tolist()):
        return _Rows(list(example), {"text": array.astype(object).reshape(-1, 1)}, (), False)
    if array.ndim != 2 or not array.size or array.dtype.kind not in "fiub":
        raise InvalidJob("an example is numbers [rows, features], a table with named columns, or a list of texts")
    names = getattr(estimator, "feature_names_in_", None)
    features = tuple(map(str, names)) if names is not None else tuple(f"x{n}" for n in range(array.shape[1]))
    return _Rows(array, {"features": array.astype(np.float32)}, features, array.dtype == np.float64)


def _rows_of_table(estimator: BaseEstimator, table: Any, names: list[str]) -> _Rows:
    """A table of numbers is one input, unless the estimator takes columns by their names."""
    columns = {name: np.asarray(table[name]) for name in table.columns}
    if not columns or not len(table):
        raise InvalidJob("the example has no rows")
    is_number = {name: each.dtype.kind in "fiub" for name, each in columns.items()}
    if all(is_number.values()) and not any(isinstance(part, ColumnTransformer) for part in _parts(estimator)):
        array = np.stack(list(columns.values()), axis=1)
        return _Rows(table, {"features": array.astype(np.float32)}, tuple(names), array.dtype == np.float64)
    inputs = {
        str(name): each.reshape(-1, 1).astype(np.float32 if is_number[name] else object)
        for name, each in columns.items()
    }
    return _Rows(table, inputs, (), False)


def _parts(estimator: BaseEstimator) -> Iterable[object]:
    return (estimator, *estimator.get_params(deep=True).values())


def _type_of(array: Array) -> Any:
    if array.dtype == object:
        return StringTensorType
    return DoubleTensorType if array.dtype == np.float64 else FloatTensorType
