"""Reads from an ONNX file what ONNX Runtime does not tell: its operators' domains, its opset, and
which inputs and outputs have no shape. It imports no ONNX library, and loads no weights.

The field numbers are those of https://github.com/onnx/onnx/blob/main/onnx/onnx.proto.
"""

import mmap
from pathlib import Path

import msgspec
from shared_schemas.errors import AttemptFailed

from inference_worker.onnx_file import LENGTH, VARINT, fields

# The domains whose operators ONNX Runtime has. "" and ai.onnx are one.
_KNOWN = frozenset({"", "ai.onnx", "ai.onnx.ml", "ai.onnx.preview.training", "com.microsoft"})
_GRAPH, _OPSET_OF_MODEL, _FUNCTION = 7, 8, 25
_INPUT, _OUTPUT = 11, 12
# Message -> field number -> message of that field, for all fields that lead to a node.
_CHILDREN: dict[str, dict[int, str]] = {
    "Model": {_GRAPH: "Graph", _FUNCTION: "Function"},
    "Function": {7: "Node"},
    "Graph": {1: "Node"},
    "Node": {5: "Attribute"},
    "Attribute": {6: "Graph", 11: "Graph"},
}
_DOMAIN_OF = {"Node": 7, "Function": 10}


class Contents(msgspec.Struct, frozen=True, kw_only=True):
    """opset: of the standard operators, 0 if the model does not say. without_shape: names of inputs
    and outputs that may have any number of dimensions."""

    opset: int
    without_shape: frozenset[str]


def read_contents(path: Path, *, allowed_domains: frozenset[str]) -> Contents:
    """AttemptFailed: model_corrupt; model_unsupported for an operator of another domain that the
    model does not define itself."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        domains = _domains(data)
        unknown = sorted(domains["Node"] - domains["Function"] - _KNOWN - allowed_domains)
        if unknown:
            raise AttemptFailed(
                "model_unsupported",
                f"the model uses operators of the domain {unknown[0][:64]!r}, which HEADRACE_ALLOWED_DOMAINS does "
                "not allow",
            )
        return Contents(opset=_opset(data), without_shape=_without_shape(data))


def _domains(data: mmap.mmap) -> dict[str, set[str]]:
    """The domains of the nodes, and those of the functions that the model defines."""
    found: dict[str, set[str]] = {"Node": set(), "Function": set()}
    left = [("Model", 0, len(data))]
    while left:
        message, start, end = left.pop()
        domain = ""
        for number, wire_type, value, after in fields(data, start, end):
            if wire_type == LENGTH and number == _DOMAIN_OF.get(message):
                domain = _text(data, value, after)
            elif wire_type == LENGTH and number in _CHILDREN[message]:
                left.append((_CHILDREN[message][number], value, after))
        if message in found:
            found[message].add(domain)
    return found


def _opset(data: mmap.mmap) -> int:
    opset = 0
    for value, after in _messages(data, 0, len(data), _OPSET_OF_MODEL):
        domain, version = "", 0
        for number, wire_type, inner, end in fields(data, value, after):
            if number == 1 and wire_type == LENGTH:
                domain = _text(data, inner, end)
            elif number == 2 and wire_type == VARINT:
                version = inner
        if domain in ("", "ai.onnx"):
            opset = max(opset, version)
    return opset


def _without_shape(data: mmap.mmap) -> frozenset[str]:
    names = set()
    for start, end in _messages(data, 0, len(data), _GRAPH):
        for place in (_INPUT, _OUTPUT):
            for begin, after in _messages(data, start, end, place):
                name = "".join(_text(data, *span) for span in _messages(data, begin, after, 1))
                # ValueInfo.type -> TypeProto.tensor_type -> Tensor.shape
                tensors = [tensor for kind in _messages(data, begin, after, 2) for tensor in _messages(data, *kind, 1)]
                if not any(_messages(data, *tensor, 2) for tensor in tensors):
                    names.add(name)
    return frozenset(names)


def _messages(data: mmap.mmap, start: int, end: int, number: int) -> list[tuple[int, int]]:
    """Where the fields of this number begin and end."""
    return [
        (value, after) for found, kind, value, after in fields(data, start, end) if found == number and kind == LENGTH
    ]


def _text(data: mmap.mmap, start: int, end: int) -> str:
    return bytes(data[start:end]).decode(errors="replace")
