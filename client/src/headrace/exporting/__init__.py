"""Objects of other libraries as ONNX files: which exporter an object needs.

Imports no other library before it is given one of its objects, so the client needs none. The exporters
know no gateway and no job.
"""

import sys
from collections.abc import Mapping
from typing import Any

import msgspec

from headrace.errors import ExportFailed, InvalidJob


class Exported(msgspec.Struct, frozen=True, kw_only=True):
    """contents: the ONNX file. shown: the fields of the manifest that the object itself shows."""

    contents: bytes
    shown: dict[str, Any] = {}


def exported(model: Any, example: object, given: Mapping[str, Any]) -> Exported | None:
    """example: rows that the object takes. given: the fields of the manifest that the caller gives. -> None
    if the model is no object of a library that is known here. ExportFailed, InvalidJob."""
    if _is_a(model, "torch.onnx", "ONNXProgram"):
        _refuse(example)
        with needed("torch"):
            from headrace.exporting.modules import contents_of
        return Exported(contents=contents_of(model))
    if _is_a(model, "torch.nn", "Module"):
        with needed("torch"):
            from headrace.exporting import modules
        return modules.export(model, _required(example), given)
    if _is_a(model, "sklearn.base", "BaseEstimator"):
        with needed("sklearn"):
            from headrace.exporting import estimators
        return estimators.export(model, _required(example), given)
    _refuse(example)
    return None


class needed:  # noqa: N801 - reads as a verb after `with`
    """ExportFailed names the extra whose packages are missing."""

    def __init__(self, extra: str) -> None:
        self._extra = extra

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, ModuleNotFoundError):
            raise ExportFailed(
                f"the package {error.name} is missing: pip install 'headrace-client[{self._extra}]'"
            ) from error


def _is_a(model: object, module: str, name: str) -> bool:
    """An object exists only where its library has been imported."""
    kind = getattr(sys.modules.get(module), name, None)
    return isinstance(kind, type) and isinstance(model, kind)


def _required(example: object) -> object:
    if example is None:
        raise InvalidJob("give an example: a few rows that the object takes, such as example=rows[:10]")
    return example


def _refuse(example: object) -> None:
    if example is not None:
        raise InvalidJob("an example is only for an estimator of scikit-learn or a module of PyTorch")
