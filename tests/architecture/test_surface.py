"""The public names of the members. A change here is a change for their users."""

import importlib
from typing import get_args

import pytest

SURFACE = {
    "worker_runtime": {
        "Attempt", "Handler", "RuntimeSettings", "StopReason", "Worker", "configure_logs", "run_worker",
    },
    "headrace": {
        "ApiError", "AsyncClient", "BadRequest", "Checkpointed", "Client", "ClientClosed", "ClientError", "Conflict",
        "Done", "Emitted", "ExportFailed", "Gap", "Gone", "Hyperparameters", "InferenceParameters", "InferenceSpec",
        "InvalidJob", "InvalidSettings", "JobCancelled", "JobEnded", "JobFailed", "JobKind", "JobState", "Logged",
        "Measured", "NotFound", "Priority", "Produced", "Progressed", "ProtocolError", "QueueFull", "Settings",
        "StateChanged", "StreamEvent", "TrainingSpec", "Unavailable", "Unreachable", "WaitTimedOut",
    },
}  # fmt: skip


@pytest.mark.parametrize("module", sorted(SURFACE))
def test_a_member_exports_what_it_promises(module: str) -> None:
    assert set(importlib.import_module(module).__all__) == SURFACE[module]


@pytest.mark.parametrize("module", sorted(SURFACE))
def test_every_exported_name_is_there(module: str) -> None:
    member = importlib.import_module(module)

    assert all(hasattr(member, name) for name in member.__all__)


def test_every_sort_of_event_is_exported_by_the_client() -> None:
    headrace = importlib.import_module("headrace")

    assert {kind.__name__ for kind in get_args(headrace.StreamEvent)} <= set(headrace.__all__)
