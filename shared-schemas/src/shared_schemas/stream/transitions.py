"""Changes of state as arguments of scripts: rows of TRANSITIONS with their events, sets of names, packed. Pure.

Submitters, workers, the schedule and recovery all change the state of a job. They describe the change to a script in
the same way.
"""

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

import msgspec

from shared_schemas.codec import encode_event_body, encode_json
from shared_schemas.errors import ErrorInfo
from shared_schemas.events import Done, Reason, StateChanged
from shared_schemas.job import JobState
from shared_schemas.lifecycle import TRANSITIONS

# Text only: the MessagePack of Redis' Lua knows no bin type.
packed_arguments = msgspec.msgpack.Encoder().encode


def set_of(names: Iterable[str]) -> dict[str, bool]:
    """{a: True, b: True}: how a script receives a set of states or events."""
    return dict.fromkeys(sorted(names), True)


def transition(reason: Reason, *, sources: frozenset[JobState] | None = None, **details: Any) -> dict[str, Any]:
    """A row of TRANSITIONS as a script's argument. sources: use only these of the row's sources.
    details: fields of the event."""
    row = row_of(reason)
    if sources is not None:
        row = {**row, "sources": set_of(sources & TRANSITIONS[reason].sources)}
    return {**row, "body": event_of(reason, **details)}


@cache
def row_of(reason: Reason) -> Mapping[str, Any]:
    """What each transition for that reason has: the states it may leave, the one it enters, the name of its event."""
    row = TRANSITIONS[reason]
    return {
        "sources": set_of(row.sources),
        "state": row.target,
        "event": "done" if row.target.is_terminal else "state",
    }


def event_of(reason: Reason, **details: Any) -> str:
    """The event of a transition, as the scripts take it. details: fields of the event."""
    state = TRANSITIONS[reason].target
    event = (Done if state.is_terminal else StateChanged)(state=state, reason=reason, **details)
    return encode_event_body(event)


def failed_transition(error: ErrorInfo) -> dict[str, Any]:
    """The job fails with this error and becomes a dead letter."""
    return {
        **transition(Reason.FAILED, error=error),
        "error": encode_json(error).decode(),
        "dead": error.code,
    }


def expired_transition() -> dict[str, Any]:
    return failed_transition(
        ErrorInfo(code="start_deadline_exceeded", message="no worker began the job before its start deadline")
    )


def request_transitions() -> dict[str, Any]:
    """What a script does with a job that its attempt lets go of after somebody asked to cancel or
    pause it."""
    return {
        "cancelled": transition(Reason.CANCELLED),
        "paused": transition(Reason.PAUSED),
    }


@cache
def packed_request_transitions() -> bytes:
    return packed_arguments(request_transitions())
