"""What supervisor and child say to each other: length-prefixed JSON frames over two pipes.

The child's events are the events of the timeline, the same Structs; a few more end the conversation.
"""

import struct
from typing import IO, Literal

import msgspec
from shared_schemas.artifacts import ArtifactRef
from shared_schemas.errors import ErrorInfo
from shared_schemas.events import Checkpointed, JobEvent, Logged, Measured, Progressed
from shared_schemas.job import Checkpoint
from shared_schemas.models import ModelManifest
from shared_schemas.specs import TrainingSpec

MOST_BYTES = 16 << 20
_HEADER = struct.Struct(">I")


class Assignment(msgspec.Struct, frozen=True, kw_only=True):
    """All a child needs to know. checkpoint: where to go on from; starts_new_run: it is another job's, whose weights
    and optimiser are the start of a run of our own. metric_events: see series.Series. owner:
    unique to the attempt: two that compute the same save files of other names, so that each may remove its own."""

    spec: TrainingSpec
    seed: int
    data_root: str
    artifacts_root: str
    device: str
    threads: int
    checkpoint: Checkpoint | None = None
    starts_new_run: bool = False
    metric_events: int = 1000
    owner: str = ""


class Stop(msgspec.Struct, frozen=True):
    """Save a checkpoint and end."""


Phase = Literal["starting", "training", "exporting"]


class Entered(msgspec.Struct, frozen=True, tag_field="event", tag="entered"):
    """What the child does from now on. It begins with starting, which is loading PyTorch."""

    phase: Phase


class Finished(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag="finished"):
    """The model is in the store. steps: optimiser steps done in all. series: the file of all that was measured, where
    the timeline has less."""

    manifest: ModelManifest
    steps: int
    facts: dict[str, str] = {}
    series: ArtifactRef | None = None


class Refused(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag="refused"):
    """It ended with a typed failure."""

    error: ErrorInfo


class Crashed(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag="crashed"):
    """An exception that nobody expected. type: its name. traceback: for the worker's own log."""

    type: str
    traceback: str


class Stopped(msgspec.Struct, frozen=True, tag_field="event", tag="stopped"):
    """It ended as asked; what it had is in its last checkpoint."""


Report = Measured | Progressed | Logged | Checkpointed | Entered | Finished | Refused | Crashed | Stopped

_encode = msgspec.json.Encoder().encode
decode_assignment = msgspec.json.Decoder(Assignment).decode
decode_report = msgspec.json.Decoder(Report).decode


def frame(message: Assignment | Stop | JobEvent | Entered | Finished | Refused | Crashed | Stopped) -> bytes:
    body = _encode(message)
    return _HEADER.pack(len(body)) + body


def body_length(header: bytes) -> int:
    """ValueError for a frame that no child of ours would send."""
    (length,) = _HEADER.unpack(header)
    if length > MOST_BYTES:
        raise ValueError("frame too large")
    return int(length)


HEADER_BYTES = _HEADER.size


def read_frame(source: IO[bytes]) -> bytes | None:
    """The next body; None at the end."""
    header = source.read(HEADER_BYTES)
    return source.read(body_length(header)) if len(header) == HEADER_BYTES else None
