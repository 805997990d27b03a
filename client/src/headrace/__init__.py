"""Headrace's client: submit jobs, follow what happens to them, get their results."""

from headrace.aio import AsyncClient
from headrace.client import Client
from headrace.connection import Settings
from headrace.errors import (
    ApiError,
    BadRequest,
    ClientError,
    Conflict,
    Gone,
    InvalidJob,
    JobCancelled,
    JobEnded,
    JobFailed,
    NotFound,
    ProtocolError,
    Unavailable,
    Unreachable,
    WaitTimedOut,
)

__all__ = [
    "ApiError",
    "AsyncClient",
    "BadRequest",
    "Client",
    "ClientError",
    "Conflict",
    "Gone",
    "InvalidJob",
    "JobCancelled",
    "JobEnded",
    "JobFailed",
    "NotFound",
    "ProtocolError",
    "Settings",
    "Unavailable",
    "Unreachable",
    "WaitTimedOut",
]
