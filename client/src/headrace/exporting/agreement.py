"""Compares an exported model with the object that it was made of. Knows no exporter."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnxruntime  # type: ignore[import-untyped]
from numpy.typing import NDArray

from headrace.errors import ExportFailed

# The largest difference between two floats: the first, and the second times the largest expected value. Adding
# float32 numbers in another order changes a sum by about 1e-6 for each term.
_SMALLEST, _RELATIVE = 1e-5, 1e-3
_RELATIVE_OF_HALF = 1e-2


class Trial:
    """One exported model, loaded once."""

    def __init__(self, contents: bytes) -> None:
        """ExportFailed if ONNX Runtime cannot load it."""
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        try:
            self._session = onnxruntime.InferenceSession(contents, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime has a class for each of its status codes, and no common one
            raise ExportFailed(f"ONNX Runtime cannot load the exported model: {reason_of(error)}") from error

    def compare(
        self,
        inputs: Mapping[str, NDArray[Any]],
        expected: Mapping[str, NDArray[Any]],
        rows: str,
        *,
        read: Callable[[NDArray[Any]], NDArray[Any]] = np.asarray,
    ) -> None:
        """expected: what the object answers, by the name of the output. rows: what the inputs are, for the error.
        read: applied to an output before. ExportFailed if an output differs."""
        try:
            found = self._session.run(list(expected), dict(inputs))
        except Exception as error:  # as above
            raise ExportFailed(f"the exported model does not run on {rows}: {reason_of(error)}") from error
        for name, each in zip(expected, found, strict=True):
            difference = _difference(read(each), expected[name])
            if difference is not None:
                raise ExportFailed(
                    f"the exported model differs from the object on {rows}: its output {name} {difference}"
                )


def reason_of(error: BaseException) -> str:
    """Its first line."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:300]


def _difference(found: NDArray[Any], expected: NDArray[Any]) -> str | None:
    """How they differ; None if they do not."""
    if found.shape != expected.shape:
        return f"has the shape {list(found.shape)} instead of {list(expected.shape)}"
    if not np.issubdtype(expected.dtype, np.floating):
        # Labels are of one dtype in numpy and of another in ONNX.
        wrong = int(np.count_nonzero(found.astype(str) != expected.astype(str)))
        return f"has {wrong} other values of {expected.size}" if wrong else None
    if not expected.size:
        return None
    is_half = np.finfo(expected.dtype).bits <= 16
    wanted, got = expected.astype(np.float64), found.astype(np.float64)
    finite = np.isfinite(wanted)
    if not np.array_equal(got[~finite], wanted[~finite], equal_nan=True):
        return "is finite in other places"
    largest = float(np.abs(got - wanted, where=finite, out=np.zeros_like(wanted)).max())
    scale = float(np.abs(wanted, where=finite, out=np.zeros_like(wanted)).max())
    allowed = _SMALLEST + (_RELATIVE_OF_HALF if is_half else _RELATIVE) * scale
    return None if largest <= allowed else f"differs by up to {largest:.3g}, and {allowed:.3g} is allowed"
