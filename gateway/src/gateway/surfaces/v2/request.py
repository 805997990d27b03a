"""Reads an inference request: JSON, or JSON with the bytes of tensors behind it. Knows neither models nor jobs.

Messages never repeat a value of the request.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from shared_schemas.codec import encode_json
from shared_schemas.inputs.tensors import MOST_DIMENSIONS
from shared_schemas.numbers import whole_number
from shared_schemas.replies import ProblemItem

from gateway.edge.problems import ProblemError
from gateway.intake.body import decode
from gateway.surfaces.v2.datatypes import DTYPE_OF, ONLY_BINARY, Datatype
from gateway.surfaces.v2.schemas import OipInferRequest, OipInput, OipRequestedOutput

BINARY_HEADER = "Inference-Header-Content-Length"

_decoder = msgspec.json.Decoder(OipInferRequest)
_LARGEST = 2**63 - 1
_SHARED_MEMORY = ("shared_memory_region", "shared_memory_byte_size", "shared_memory_offset")


class Sent(msgspec.Struct, frozen=True):
    """A tensor of the request, as a tensor of a job is written: see `shared_schemas.inputs.tensors`."""

    name: str
    datatype: Datatype
    tensor: dict[str, Any]

    @property
    def n_rows(self) -> int:
        """The size of its first dimension. It must have one."""
        return int(self.tensor["shape"][0])


class Wanted(msgspec.Struct, frozen=True):
    """An output that the request names. is_binary: None if it does not say. n_classes: how many of its largest values,
    as classes; 0 for the output itself."""

    name: str
    is_binary: bool | None
    n_classes: int = 0


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """An inference request. outputs: empty for all of them. is_binary: of outputs that do not say themselves. others:
    the parameters that are not of this protocol. cache: see InferenceSpec."""

    id: str
    inputs: tuple[Sent, ...]
    outputs: tuple[Wanted, ...]
    is_binary: bool
    timeout_us: int
    priority: int
    cache: bool
    others: Mapping[str, Any]


def read_request(body: bytes, header_length: str | None) -> Asked:
    """header_length: the header that says how long the JSON is. ProblemError 400, 422."""
    n_json = len(body)
    if header_length is not None:
        n_given = whole_number(header_length, most=len(body)) if header_length.isascii() else None
        if n_given is None:
            raise refused(f"{BINARY_HEADER} is not a number of bytes that the body has")
        n_json = n_given
    request = _decode(body[:n_json])
    inputs = tuple(_sent(request.inputs, memoryview(body)[n_json:]))
    given = dict(request.parameters)
    if given.pop("sequence_id", 0) not in (0, ""):
        raise refused("there are no models with sequences: leave out sequence_id", "/parameters/sequence_id")
    for name in ("sequence_start", "sequence_end"):
        given.pop(name, None)
    return Asked(
        id=request.id,
        inputs=inputs,
        outputs=tuple(_wanted(request.outputs)),
        is_binary=bool(_flag(given.pop("binary_data_output", None), "/parameters/binary_data_output")),
        timeout_us=_count(given.pop("timeout", 0), "/parameters/timeout"),
        priority=_count(given.pop("priority", 0), "/parameters/priority"),
        cache=bool(_flag(given.pop("cache", None), "/parameters/cache")),
        others=given,
    )


def refused(detail: str, pointer: str = "") -> ProblemError:
    items = [ProblemItem(pointer=pointer, code="invalid_value", detail=detail)] if pointer else []
    return ProblemError(422, "invalid_body", detail, errors=items)


def _decode(text: bytes) -> OipInferRequest:
    try:
        return decode(text, _decoder)
    except ProblemError as error:
        # Stock clients write NaN and Infinity as they are, which is not JSON.
        if error.code != "malformed_json" or not (b"NaN" in text or b"Infinity" in text):
            raise
        try:
            # In the data of a tensor, these words are texts.
            given = msgspec.convert(json.loads(text.decode(), parse_constant=str), OipInferRequest)
            # Python's reader takes half of a surrogate pair, which no UTF-8 can hold.
            encode_json(given)
        except (ValueError, RecursionError):
            raise error from None
        return given


def _sent(inputs: Sequence[OipInput], blobs: memoryview) -> list[Sent]:
    found, names, at = list[Sent](), set[str](), 0
    for place, each in enumerate(inputs):
        pointer = f"/inputs/{place}"
        if each.name in names:
            raise refused("two inputs have the same name", f"{pointer}/name")
        names.add(each.name)
        if any(name in each.parameters for name in _SHARED_MEMORY):
            raise refused(
                "there is no shared memory with this server: send the tensor as data or as binary data",
                f"{pointer}/parameters",
            )
        if len(each.shape) > MOST_DIMENSIONS:
            raise refused("a tensor has too many dimensions", f"{pointer}/shape")
        tensor: dict[str, Any] = {"dtype": DTYPE_OF[each.datatype], "shape": list(each.shape)}
        size = each.parameters.get("binary_data_size")
        if size is not None:
            n_bytes = _count(size, f"{pointer}/parameters/binary_data_size")
            if each.data is not None:
                raise refused("an input has data, and binary data as well", pointer)
            if n_bytes > len(blobs) - at:
                raise refused(
                    "the body ends before the binary data of this input", f"{pointer}/parameters/binary_data_size"
                )
            tensor["base64"] = bytes(blobs[at : at + n_bytes])
            at += n_bytes
        elif each.data is None:
            raise refused("an input has neither data nor binary data", pointer)
        elif each.datatype in ONLY_BINARY:
            raise refused(f"{each.datatype} is sent as binary data", f"{pointer}/data")
        else:
            tensor["data"] = _flat(each.data, each.shape, f"{pointer}/data")
        found.append(Sent(each.name, each.datatype, tensor))
    if at < len(blobs):
        raise refused("the body goes on after the binary data of all inputs")
    return found


def _flat(data: Any, shape: Sequence[int], pointer: str) -> list[Any]:
    """data: one list, or nested lists of this shape -> one list."""
    if not isinstance(data, list):
        raise refused("data is not a list", pointer)
    if not any(isinstance(each, list) for each in data):
        return data
    level = [data]
    for size in shape:
        if any(not isinstance(each, list) or len(each) != size for each in level):
            raise refused("data is nested in another way than the shape says", pointer)
        level = [inner for each in level for inner in each]
    if any(isinstance(each, list) for each in level):
        raise refused("data is nested deeper than the shape says", pointer)
    return level


def _wanted(outputs: Sequence[OipRequestedOutput]) -> list[Wanted]:
    found, names = list[Wanted](), set[str]()
    for place, each in enumerate(outputs):
        pointer = f"/outputs/{place}"
        if each.name in names:
            raise refused("two outputs have the same name", f"{pointer}/name")
        names.add(each.name)
        if any(name in each.parameters for name in _SHARED_MEMORY):
            raise refused("there is no shared memory with this server", f"{pointer}/parameters")
        n_classes = _count(each.parameters.get("classification", 0), f"{pointer}/parameters/classification")
        is_binary = _flag(each.parameters.get("binary_data"), f"{pointer}/parameters/binary_data")
        found.append(Wanted(each.name, is_binary, n_classes))
    return found


def _flag(given: Any, pointer: str) -> bool | None:
    if given is None or isinstance(given, bool):
        return given
    raise refused("not true or false", pointer)


def _count(given: Any, pointer: str) -> int:
    if type(given) is int and given >= 0:
        # No more than a float can hold.
        return min(given, _LARGEST)
    raise refused("not a whole number from 0", pointer)
