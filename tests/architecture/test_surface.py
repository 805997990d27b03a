"""The names that other parts and users lean on. A change here is a change for them."""

import importlib

import pytest

SURFACE = {
    "worker_runtime": {
        "Attempt", "Handler", "RuntimeSettings", "StopReason", "Worker", "configure_logs", "run_worker",
    },
    "headrace": {
        "ApiError", "AsyncClient", "BadRequest", "Client", "ClientError", "Conflict", "Gone", "InvalidJob",
        "JobCancelled", "JobEnded", "JobFailed", "NotFound", "ProtocolError", "Settings", "Unavailable", "Unreachable",
        "WaitTimedOut",
    },
}  # fmt: skip


@pytest.mark.parametrize("module", sorted(SURFACE))
def test_a_member_exports_what_it_promises(module: str) -> None:
    assert set(importlib.import_module(module).__all__) == SURFACE[module]


@pytest.mark.parametrize("module", sorted(SURFACE))
def test_every_exported_name_is_there(module: str) -> None:
    member = importlib.import_module(module)

    assert all(hasattr(member, name) for name in member.__all__)
