"""The messages between supervisor and child, and how they are framed. Knows no process and no pipe.

A frame is a length of 4 bytes, big-endian, and that many bytes of JSON, the message. The child
reports its progress with the events of the timeline, as the same Structs. The other messages of the
child say which phase it has entered and how it ended.
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
    """All that a child needs to know, sent to it first.

    device: auto, cpu, cuda or cuda:N.
    threads: of torch on the CPU; 0 lets torch decide.
    checkpoint: where training resumes.
    starts_new_run: the checkpoint belongs to another job, and only its weights and optimiser are
        used, at step 0.
    metric_events: how many metric events of each split are reported one by one, before they are
        thinned.
    owner: unique to the attempt. It is part of each checkpoint file, so two attempts never share
        one, and each may remove its own.
    """

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
    """Asks the child to save a checkpoint and end."""


Phase = Literal["starting", "training", "exporting"]


class Entered(msgspec.Struct, frozen=True, tag_field="event", tag="entered"):
    """The child has entered a phase. It begins in `starting`, in which it loads PyTorch."""

    phase: Phase


class Finished(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag="finished"):
    """The model is in the store. steps: optimiser steps in all, those of earlier attempts included.
    facts: what the weights depend on besides the spec. series: the file of all metrics; None if the
    timeline has all of them."""

    manifest: ModelManifest
    steps: int
    facts: dict[str, str] = {}
    series: ArtifactRef | None = None


class Refused(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag="refused"):
    """The child ended with a typed failure."""

    error: ErrorInfo


class Crashed(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag="crashed"):
    """The child ended with an unexpected exception. type: the name of its class. traceback: for the
    worker's own log; a job's error never contains it."""

    type: str
    traceback: str


class Stopped(msgspec.Struct, frozen=True, tag_field="event", tag="stopped"):
    """The child ended as asked. Its last checkpoint holds all of its progress."""


Report = Measured | Progressed | Logged | Checkpointed | Entered | Finished | Refused | Crashed | Stopped

_encode = msgspec.json.Encoder().encode
decode_assignment = msgspec.json.Decoder(Assignment).decode
decode_report = msgspec.json.Decoder(Report).decode


def frame(message: Assignment | Stop | JobEvent | Entered | Finished | Refused | Crashed | Stopped) -> bytes:
    body = _encode(message)
    return _HEADER.pack(len(body)) + body


def body_length(header: bytes) -> int:
    """header: of a frame. -> the length of its message in bytes. ValueError above MOST_BYTES, which
    no message of a child reaches."""
    (length,) = _HEADER.unpack(header)
    if length > MOST_BYTES:
        raise ValueError("frame too large")
    return int(length)


HEADER_BYTES = _HEADER.size


def read_frame(source: IO[bytes]) -> bytes | None:
    """The next message, still encoded. Blocks until it is there; None if the pipe has ended."""
    header = source.read(HEADER_BYTES)
    return source.read(body_length(header)) if len(header) == HEADER_BYTES else None
