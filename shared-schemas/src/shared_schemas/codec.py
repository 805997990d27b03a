"""Encoders and decoders, built once. JSON everywhere, so that redis-cli and a browser can read it."""

import msgspec

from shared_schemas.events import JobEvent, StreamEvent
from shared_schemas.models import ModelManifest
from shared_schemas.specs import JobSpec

# Part of every job hash; a reader leaves a newer version to a newer worker.
WIRE_VERSION = 1

encode_json = msgspec.json.Encoder().encode
decode_spec = msgspec.json.Decoder(JobSpec).decode
decode_event = msgspec.json.Decoder(StreamEvent).decode
decode_manifest = msgspec.json.Decoder(ModelManifest).decode


def encode_event_body(event: JobEvent) -> str:
    """The event without its stamp and opening brace: the appending script writes both in front."""
    return encode_json(event)[1:].decode()
