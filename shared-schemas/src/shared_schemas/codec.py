"""Encoders and decoders, built once. JSON everywhere, so that redis-cli and a browser can read it."""

from typing import Any

import msgspec

from shared_schemas.events import JobEvent, StreamEvent
from shared_schemas.models import ModelManifest
from shared_schemas.specs import InferenceSpec, JobSpec, TrainingSpec

# Part of every job hash; a reader leaves a newer version to a newer worker.
WIRE_VERSION = 1

encode_json = msgspec.json.Encoder().encode
_strict: msgspec.json.Decoder[JobSpec] = msgspec.json.Decoder(JobSpec)
decode_event = msgspec.json.Decoder(StreamEvent).decode
decode_manifest = msgspec.json.Decoder(ModelManifest).decode


def decode_spec(data: bytes) -> JobSpec:
    """A spec as it is stored. A body with an unknown field is refused; here a field that a newer producer has added is
    left out. What must not be overlooked comes with a newer version. DecodeError."""
    try:
        return _strict.decode(data)
    except msgspec.ValidationError:
        value = msgspec.json.decode(data)
        for spec in (TrainingSpec, InferenceSpec):
            if isinstance(value, dict) and value.get("kind") == spec.__struct_config__.tag:
                return _strict.decode(encode_json(_known(value, spec)))
        raise


def _known(value: dict[str, Any], struct: type[msgspec.Struct]) -> dict[str, Any]:
    """The fields that the Struct and those within it have."""
    types = {struct.__struct_config__.tag_field: str} | {
        field.encode_name: field.type for field in msgspec.structs.fields(struct)
    }
    return {
        name: _known(part, types[name]) if isinstance(part, dict) and _is_struct(types[name]) else part
        for name, part in value.items()
        if name in types
    }


def _is_struct(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def encode_event_body(event: JobEvent) -> str:
    """The event without its stamp and opening brace: the appending script writes both in front."""
    return encode_json(event)[1:].decode()
