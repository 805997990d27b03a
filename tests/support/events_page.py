"""Makes docs/events.md: each event with its fields, when it is sent, and an example.

The descriptions are here. The fields, their types and the examples come from the Structs of events,
and each field needs a description.

    python -m tests.support.events_page            write the page
    python -m tests.support.events_page --check    exit with 1 if the page is out of date
"""

import sys
from collections.abc import Iterator, Mapping
from types import NoneType, UnionType
from typing import Any, Literal, get_args, get_origin

import msgspec
from shared_schemas.artifacts import ArtifactRef
from shared_schemas.errors import ErrorInfo
from shared_schemas.events import (
    Checkpointed,
    Done,
    Emitted,
    Gap,
    Logged,
    Measured,
    Produced,
    Progressed,
    Reason,
    StateChanged,
)
from shared_schemas.job import JobState

from tests.support.gateways import ROOT
from tests.support.lists import item, wrapped

PAGE = ROOT / "docs" / "events.md"
COMMAND = "uv run python -m tests.support.events_page"


class Described(msgspec.Struct, frozen=True):
    """when: when the event is sent. fields: what each of its own fields means, with its unit."""

    example: msgspec.Struct
    when: str
    fields: Mapping[str, str]


_SHA256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
_STAMP = {
    "n": "number of the event, from 1",
    "at": "when it was stored, in milliseconds since 1970, by the clock of Redis",
}
_STAMP["attempt"] = "number of the attempt that it belongs to; left out before the first attempt"
EVENTS = (
    Described(
        StateChanged(
            n=2, at=1795526361044, attempt=1, state=JobState.RUNNING, reason=Reason.CLAIMED, worker="gpu1-ab12"
        ),
        "When the state of the job changes, and when someone asks to pause or cancel a running job.",
        {
            "state": "the state after the event",
            "reason": "why it changed, as in the drawing of the [states](concepts.md#the-states-of-a-job)",
            "worker": "the worker that runs the job",
            "delay_ms": "how long a scheduled job waits, in milliseconds from `at`",
            "error": "the error after which the job is retried",
        },
    ),
    Described(
        Progressed(n=3, at=1795526362101, attempt=1, fraction=0.25, step=250, total=1000, epoch=2),
        "While an attempt runs. At most one is stored in a quarter of a second. This interval doubles after each "
        "thousand of them in an attempt.",
        {
            "fraction": "how much of the whole job is done, from 0 to 1",
            "step": "optimiser steps or inputs that are done",
            "total": "all optimiser steps or inputs of the job",
            "epoch": "the epoch, from 1",
            "message": "what the attempt is doing",
        },
    ),
    Described(
        Measured(
            n=4, at=1795526362103, attempt=1, split="train", step=250, values={"loss": 0.42, "learning_rate": 0.001}
        ),
        "When a training has measured something. It sends the first `HEADRACE_METRIC_EVENTS` of a split one by one. "
        "Later it sends the first, the last and the extremes of each stretch of steps. The artifact `metrics.ndjson` "
        "then has all of them.",
        {
            "split": "the rows that were measured",
            "step": "optimiser steps that are done",
            "values": "the numbers by name: `loss`, `accuracy`, `perplexity`, `learning_rate`, `steps_per_s`, …. A "
            "number that is not finite is null",
        },
    ),
    Described(
        Logged(n=5, at=1795526362200, attempt=1, line="column id is not used", level="warning"),
        "When an attempt writes a line to the log of its job.",
        {
            "line": "the text, without its line end",
            "level": "how serious it is; `info` if it is left out",
            "dropped": "how many lines before this one were left out because the job wrote too many",
        },
    ),
    Described(
        Emitted(n=6, at=1795526362300, attempt=1, chunk=" mill", index=1),
        "While a language model writes its result.",
        {
            "chunk": "text to append to what the input has so far",
            "index": "the input of the job, from 0; 0 if it is left out",
            "finish_reason": "in the last event of an input: why the text ends",
            "tokens": "of a model with a cache: the ids since the last such event; another attempt goes on from them",
        },
    ),
    Described(
        Checkpointed(
            n=7,
            at=1795526363000,
            attempt=1,
            step=500,
            artifact=ArtifactRef(sha256=_SHA256, n_bytes=81_234),
            metrics={"loss": 0.31},
            best=True,
        ),
        "When a training has saved a checkpoint from which an attempt can continue. The newest few and the best one "
        "are kept.",
        {
            "step": "optimiser steps that are done",
            "artifact": "the file",
            "metrics": "the metrics on held-out rows, if they were measured at this step",
            "best": "whether no earlier checkpoint is better by the headline metric of the run",
        },
    ),
    Described(
        Produced(
            n=8,
            at=1795526364000,
            attempt=1,
            name="model.onnx",
            artifact=ArtifactRef(sha256=_SHA256, n_bytes=52_911),
            model="wine@3",
        ),
        "When an attempt has made a file that outlives the job: `model.onnx`, or `metrics.ndjson` if the timeline does "
        "not have all metrics.",
        {
            "name": "the name of the file",
            "artifact": "the file",
            "model": "the reference under which the model is served",
        },
    ),
    Described(
        Done(
            n=9,
            at=1795526365000,
            attempt=1,
            state=JobState.SUCCEEDED,
            reason=Reason.SUCCEEDED,
            result=msgspec.Raw(b'{"model":"wine@3"}'),
            digest=_SHA256,
            facts={"device": "cpu"},
        ),
        "Once, as the last event of the job.",
        {
            "state": "the final state",
            "reason": "why the job ended",
            "result": "the result, in the form of the kind of job",
            "error": "why the job failed",
            "digest": "SHA-256 of the part of the result that a replay must reproduce",
            "facts": "what the result was made with, by name: device, library, processor, …",
        },
    ),
    Described(
        Gap(requested=5, oldest=12),
        "When events that the reader asked for are missing. The gateway makes this event. It is not stored and has no "
        "number.",
        {
            "requested": "the number that the reader asked for",
            "oldest": "the number of the next event in the stream. If it is not larger than `requested`, Redis has "
            "lost events that the reader had seen, and the timeline starts again",
        },
    ),
)
_HEAD = f"""\
# Events

This page is made from `shared_schemas.events` and `tests/support/events_page.py` by
`{COMMAND}`. Do not edit it.

Every event is a JSON object. In an event stream, the SSE event name is `event` and the SSE id is
`n`. In NDJSON and JSON, it is the same object. [Following a job](following.md) shows how to read a
stream, and [the protocol](protocol.md#events) says how events are stored.

This page is about the events of one job. These fields are in every event but `gap`:

"""
_TYPES = {str: "text", int: "whole number", float: "number", bool: "true or false", msgspec.Raw: "any JSON"}
_SHAPES = {
    ArtifactRef: "`sha256`, `n_bytes`, `media_type`",
    ErrorInfo: "`code`, `message`, `retryable`, `row`, `column`",
}


def page() -> str:
    stamp = "".join(item(f"`{name}`: {text}.") for name, text in _STAMP.items())
    return _HEAD + stamp + "\nA field that has its default value is left out.\n" + "".join(map(_section, EVENTS))


def _section(described: Described) -> str:
    kind = type(described.example)
    fields = {field.name: field for field in msgspec.structs.fields(kind) if field.name not in _STAMP}
    if fields.keys() != described.fields.keys():
        raise ValueError(f"the descriptions for {kind.__name__} are not those of its fields")
    lines = [f"\n## {kind.__struct_config__.tag}\n\n{wrapped(described.when)}\n\n"]
    for name, field in fields.items():
        optional = "" if field.required else ", optional"
        lines.append(item(f"`{name}` ({'; '.join(_types(field.type))}{optional}): {described.fields[name]}."))
    example = msgspec.json.format(msgspec.json.encode(_stamped(described.example)), indent=2).decode()
    return "".join([*lines, f"\n```json\n{example}\n```\n"])


def _stamped(event: msgspec.Struct) -> dict[str, Any]:
    """The event as a reader gets it: the script puts the stamp in front."""
    fields = msgspec.json.decode(msgspec.json.encode(event))
    return {name: fields[name] for name in (*_STAMP, *fields) if name in fields}


def _types(kind: Any) -> Iterator[str]:
    if kind in _SHAPES:
        yield f"object with {_SHAPES[kind]}"
    elif kind in _TYPES:
        yield _TYPES[kind]
    elif get_origin(kind) is Literal:
        yield "one of " + ", ".join(f"`{value}`" for value in get_args(kind))
    elif get_origin(kind) is dict:
        yield "object"
    elif isinstance(kind, UnionType) or NoneType in get_args(kind):
        yield from (text for part in get_args(kind) if part is not NoneType for text in _types(part))
    else:
        yield "text"


def main() -> None:
    if sys.argv[1:] != ["--check"]:
        PAGE.write_text(page())
    elif not PAGE.exists() or PAGE.read_text() != page():
        raise SystemExit(f"docs/events.md is out of date: {COMMAND}")


if __name__ == "__main__":
    main()
