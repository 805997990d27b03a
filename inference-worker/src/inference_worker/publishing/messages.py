"""What a publishing worker and its child process say to each other: one JSON object in each line."""

from typing import Literal

import msgspec
from shared_schemas.artifacts import ArtifactRef
from shared_schemas.codec import encode_json
from shared_schemas.errors import ErrorInfo
from shared_schemas.models import ModelDescription, ModelManifest

Phase = Literal["checking", "loading", "running"]
# The longest line of a child. A manifest of a million labels is shorter.
LONGEST_LINE = 64 << 20


class Assignment(msgspec.Struct, frozen=True, kw_only=True):
    """The file to check, and the limits."""

    onnx: ArtifactRef
    description: ModelDescription
    artifacts_root: str
    allowed_domains: tuple[str, ...]
    memory_bytes: int
    timeout_s: float


class Entered(msgspec.Struct, frozen=True, tag="entered"):
    phase: Phase


class Checked(msgspec.Struct, frozen=True, kw_only=True, tag="checked"):
    """The model can be published. ran: whether it was run once. facts: what it was run with."""

    manifest: ModelManifest
    ran: bool
    facts: dict[str, str]


class Refused(msgspec.Struct, frozen=True, tag="refused"):
    """traceback: of an exception that nobody expected, for the log."""

    error: ErrorInfo
    traceback: str = ""


Report = Entered | Checked | Refused
decode_assignment = msgspec.json.Decoder(Assignment).decode
_decode: msgspec.json.Decoder[Report] = msgspec.json.Decoder(Report)
decode_report = _decode.decode


def line_of(message: msgspec.Struct) -> bytes:
    return encode_json(message) + b"\n"
