"""Writes the answer to an inference request: JSON, with the bytes of tensors behind it if they are wanted. Knows no
job."""

from collections.abc import Mapping, Sequence

import msgspec
from shared_schemas.codec import encode_json

from gateway.surfaces.v2.classes import NOT_RANKED, classified
from gateway.surfaces.v2.datatypes import DATATYPE_OF, ONLY_BINARY
from gateway.surfaces.v2.forms import Form, Given, check_outputs
from gateway.surfaces.v2.request import BINARY_HEADER, Asked, refused
from gateway.surfaces.v2.schemas import OipInferResponse, OipOutput

_BINARY_TYPE, _JSON_TYPE = "application/octet-stream", "application/json"


class Answered(msgspec.Struct, frozen=True):
    """is_binary: as bytes. n_classes: as in Wanted."""

    name: str
    is_binary: bool
    n_classes: int = 0


class Plan(msgspec.Struct, frozen=True):
    """Which outputs are answered, in this order."""

    outputs: Sequence[Answered]

    @property
    def any_binary(self) -> bool:
        return any(each.is_binary for each in self.outputs)


class Written(msgspec.Struct, frozen=True):
    body: bytes
    headers: dict[str, str]


def planned(asked: Asked, form: Form) -> Plan:
    """ProblemError 422 if the model has no such output, or an output has no form in JSON or no classes."""
    if asked.outputs:
        check_outputs(form, [each.name for each in asked.outputs])
        chosen = [
            Answered(each.name, asked.is_binary if each.is_binary is None else each.is_binary, each.n_classes)
            for each in asked.outputs
        ]
    else:
        chosen = [Answered(each.name, asked.is_binary) for each in form.outputs]
    datatypes = {each.name: each.datatype for each in form.outputs}
    for place, each in enumerate(chosen):
        datatype = datatypes[each.name]
        if each.n_classes:
            if datatype in NOT_RANKED:
                raise refused(
                    f"an output of {datatype} has no largest values", f"/outputs/{place}/parameters/classification"
                )
        elif not each.is_binary and datatype in ONLY_BINARY:
            raise refused(
                f"the output {each.name!r} is {datatype}, which has no form in JSON: set binary_data for it, or "
                "binary_data_output for all outputs",
                "/outputs",
            )
    return Plan(chosen)


def written(plan: Plan, given: Mapping[str, Given], *, model_name: str, model_version: str, request_id: str) -> Written:
    outputs, blobs = list[OipOutput](), list[bytes]()
    for answered in plan.outputs:
        name, each = answered.name, given[answered.name]
        if answered.n_classes:
            each = classified(each, answered.n_classes)
        datatype = DATATYPE_OF[each.dtype]
        if answered.is_binary:
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
