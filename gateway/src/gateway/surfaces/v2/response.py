"""Writes the answer to an inference request: JSON, with the bytes of tensors behind it if they are wanted. Knows no
job."""

from collections.abc import Mapping, Sequence

import msgspec
from shared_schemas.codec import encode_json

from gateway.surfaces.v2.datatypes import DATATYPE_OF, ONLY_BINARY
from gateway.surfaces.v2.forms import Form, Given, check_outputs
from gateway.surfaces.v2.request import BINARY_HEADER, Asked, refused
from gateway.surfaces.v2.schemas import OipInferResponse, OipOutput

_BINARY_TYPE, _JSON_TYPE = "application/octet-stream", "application/json"


class Plan(msgspec.Struct, frozen=True):
    """Which outputs are answered, in this order, and whether as bytes."""

    outputs: Sequence[tuple[str, bool]]

    @property
    def any_binary(self) -> bool:
        return any(is_binary for _, is_binary in self.outputs)


class Written(msgspec.Struct, frozen=True):
    body: bytes
    headers: dict[str, str]


def planned(asked: Asked, form: Form) -> Plan:
    """ProblemError 422 if the model has no such output, or an output has no form in JSON."""
    if asked.outputs:
        check_outputs(form, [each.name for each in asked.outputs])
        chosen = [(each.name, asked.is_binary if each.is_binary is None else each.is_binary) for each in asked.outputs]
    else:
        chosen = [(each.name, asked.is_binary) for each in form.outputs]
    datatypes = {each.name: each.datatype for each in form.outputs}
    for name, is_binary in chosen:
        if not is_binary and datatypes[name] in ONLY_BINARY:
            raise refused(
                f"the output {name!r} is {datatypes[name]}, which has no form in JSON: set binary_data for it, or "
                "binary_data_output for all outputs",
                "/outputs",
            )
    return Plan(chosen)


def written(plan: Plan, given: Mapping[str, Given], *, model_name: str, model_version: str, request_id: str) -> Written:
    outputs, blobs = list[OipOutput](), list[bytes]()
    for name, is_binary in plan.outputs:
        each = given[name]
        datatype = DATATYPE_OF[each.dtype]
        if is_binary:
            blob = each.as_bytes()
            blobs.append(blob)
            size = {"binary_data_size": len(blob)}
            outputs.append(OipOutput(name=name, datatype=datatype, shape=each.shape, parameters=size))
        else:
            outputs.append(OipOutput(name=name, datatype=datatype, shape=each.shape, data=each.as_json()))
    head = encode_json(
        OipInferResponse(model_name=model_name, model_version=model_version, id=request_id, outputs=tuple(outputs))
    )
    if not plan.any_binary:
        return Written(head, {"Content-Type": _JSON_TYPE})
    headers = {"Content-Type": _BINARY_TYPE, BINARY_HEADER: str(len(head))}
    return Written(b"".join((head, *blobs)), headers)
