"""The one table of the kinds of job. All that depends on the kind of a job follows from a row here
and its spec.

A new kind needs a row in JobKind, and in `specs` a Struct that is tagged with its name. From these
follow the names of its queues, the pattern of its ids, `POST /jobs/<kind>` with its OpenAPI
document, the client's `submit` and `headrace submit <kind>`. A worker whose handler names the kind
runs its jobs. `tests/e2e/test_new_kind.py` adds one.

Loads neither msgspec nor a spec: the command line lists the kinds before it loads anything else.
"""

from enum import StrEnum
from typing import Self


class JobKind(StrEnum):
    """Which work a job does."""

    # What a job of this kind does, in one sentence.
    summary: str
    # Whether its jobs may refer to files of the artifact store, which keeps these files for as long as the job.
    makes_files: bool

    def __new__(cls, name: str, summary: str = "", makes_files: bool = True) -> Self:
        """name: the first word of the names of its queues, the last part of its route, and the
        `kind` in its specs."""
        kind = str.__new__(cls, name)
        kind._value_ = name
        kind.summary, kind.makes_files = summary, makes_files
        return kind

    TRAINING = "training", "Train a model on a CSV and publish it."
    INFERENCE = "inference", "Run a published model.", False
    PUBLISHING = "publishing", "Check an ONNX file and publish it as a model."
