"""The event loop of a worker's process. Knows no worker."""

import sys
from collections.abc import Awaitable, Callable
from typing import TypeVar, TypeVarTuple

import anyio
from shared_schemas.service.process import tune_garbage_collector

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


def run_process(main: Callable[[*Ts], Awaitable[T]], *arguments: *Ts) -> T:
    """anyio.run, for a process that does nothing else."""
    tune_garbage_collector()
    return anyio.run(main, *arguments, backend_options={"use_uvloop": sys.platform != "win32"})
