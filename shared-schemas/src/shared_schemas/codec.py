"""Encoders and decoders for specs, events and manifests. All are JSON, so that redis-cli and a
browser can read them."""

from typing import Any, NamedTuple

import msgspec

from shared_schemas.events import Checkpointed, JobEvent, Measured, Progressed, StreamEvent
from shared_schemas.models import ModelManifest
from shared_schemas.specs import SPECS, JobOptions, JobSpec

# Stored with every job. A reader leaves a job of a newer version to a newer worker.
WIRE_VERSION = 1

encode_json = msgspec.json.Encoder().encode
_strict: msgspec.json.Decoder[JobSpec] = msgspec.json.Decoder(JobSpec)
decode_event = msgspec.json.Decoder(StreamEvent).decode
decode_manifest = msgspec.json.Decoder(ModelManifest).decode


def decode_spec(data: bytes) -> JobSpec:
    """Decode a stored spec. DecodeError.

    Leaves out an unknown field: a newer producer has added it. (A gateway refuses unknown fields in
    a body.) A change that no reader may ignore has a newer version.
    """
    try:
        return _strict.decode(data)
    except msgspec.ValidationError:
        value = msgspec.json.decode(data)
        for kind, spec in SPECS.items():
            if isinstance(value, dict) and value.get("kind") == kind:
                return _strict.decode(encode_json(_known(value, spec)))
        raise


def with_encoded_input(*specs: JobSpec) -> tuple[JobSpec, ...]:
    """specs: of one kind, with the same input. -> the same with the input as a msgspec.Raw of the JSON
    that encode_json writes for it. So a long input is encoded once, however often its specs are."""
    field = specs[0].input_field
    if field is None:
        return specs
    encoded_input = {field: msgspec.Raw(encode_json(getattr(specs[0], field)))}
    return tuple(msgspec.structs.replace(spec, **encoded_input) for spec in specs)


def _known(value: dict[str, Any], struct: type[msgspec.Struct]) -> dict[str, Any]:
    """value without the fields that the Struct, or a Struct within it, does not have."""
    types: dict[str | None, Any] = {struct.__struct_config__.tag_field: str} | {
        field.encode_name: field.type for field in msgspec.structs.fields(struct)
    }
    if issubclass(struct, JobOptions):
        types.update(struct.structs_within(value))
    return {
        name: _known(part, types[name]) if isinstance(part, dict) and _is_struct(types[name]) else part
        for name, part in value.items()
        if name in types
    }


def _is_struct(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


class EncodedEvent(NamedTuple):
    """An event as the scripts take it. name: its tag. body: see encode_event_body. field: of the
    job's hash, keeps the newest event of this kind; None if no field does."""

    name: str
    body: str
    field: str | None


def encoded(event: JobEvent) -> EncodedEvent:
    """Encode an event. Each event is encoded only once."""
    return EncodedEvent(str(event.__struct_config__.tag), encode_event_body(event), _kept_in(event))


def encoded_as(data: bytes, event: JobEvent) -> EncodedEvent:
    """As encoded, for an event that was decoded from `data`: uses these bytes again.
    UnicodeDecodeError."""
    # Readers split at line ends, so `data` must be one line. The script writes an opening
    # brace and the stamp in front of the rest, so `data` must have no stamp yet.
    if event.n or event.at or event.attempt or b"\n" in data or b"\r" in data or not data.startswith(b'{"event":'):
        return encoded(msgspec.structs.replace(event, n=0, at=0, attempt=0))
    return EncodedEvent(str(event.__struct_config__.tag), data[1:].decode(), _kept_in(event))


def _kept_in(event: JobEvent) -> str | None:
    match event:
        case Progressed():
            return "progress"
        case Measured(split=split):
            return f"metric:{split}"
        case Checkpointed():
            return "checkpoint"
        case _:
            return None


def encode_event_body(event: JobEvent) -> str:
    """The event without its stamp and opening brace: the script that appends it writes both in
    front."""
    return encode_json(event)[1:].decode()
