"""Headrace's client: submit jobs, follow their events, and get their results.

A name is imported when it is first used, so that a program does not wait for parts that it does not
need.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shared_schemas.events import (
        Checkpointed,
        Done,
        Emitted,
        Gap,
        Logged,
        Measured,
        Produced,
        Progressed,
        StateChanged,
        StreamEvent,
    )
    from shared_schemas.job import JobState
    from shared_schemas.kinds import JobKind
    from shared_schemas.specs import Hyperparameters, InferenceParameters, InferenceSpec, Priority, TrainingSpec

    from headrace.async_client import AsyncClient
    from headrace.client import Client
    from headrace.connection import Settings
    from headrace.errors import (
        ApiError,
        BadRequest,
        ClientClosed,
        ClientError,
        Conflict,
        ExportFailed,
        Gone,
        InvalidJob,
        InvalidSettings,
        JobCancelled,
        JobEnded,
        JobFailed,
        NotFound,
        ProtocolError,
        QueueFull,
        Unavailable,
        Unreachable,
        WaitTimedOut,
    )

__all__ = [
    "ApiError",
    "AsyncClient",
    "BadRequest",
    "Checkpointed",
    "Client",
    "ClientClosed",
    "ClientError",
    "Conflict",
    "Done",
    "Emitted",
    "ExportFailed",
    "Gap",
    "Gone",
    "Hyperparameters",
    "InferenceParameters",
    "InferenceSpec",
    "InvalidJob",
    "InvalidSettings",
    "JobCancelled",
    "JobEnded",
    "JobFailed",
    "JobKind",
    "JobState",
    "Logged",
    "Measured",
    "NotFound",
    "Priority",
    "Produced",
    "Progressed",
    "ProtocolError",
    "QueueFull",
    "Settings",
    "StateChanged",
    "StreamEvent",
    "TrainingSpec",
    "Unavailable",
    "Unreachable",
    "WaitTimedOut",
]

_MODULES = {
    "AsyncClient": "headrace.async_client",
    "Client": "headrace.client",
    "Settings": "headrace.connection",
    "JobKind": "shared_schemas.kinds",
    "JobState": "shared_schemas.job",
    **dict.fromkeys(
        ("Hyperparameters", "InferenceParameters", "InferenceSpec", "Priority", "TrainingSpec"), "shared_schemas.specs"
    ),
    **dict.fromkeys(
        (
            "Checkpointed",
            "Done",
            "Emitted",
            "Gap",
            "Logged",
            "Measured",
            "Produced",
            "Progressed",
            "StateChanged",
            "StreamEvent",
        ),
        "shared_schemas.events",
    ),
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_MODULES.get(name, "headrace.errors")), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
