"""The event loop of a worker's process, and what of the interpreter is set for it. Knows no worker."""

import gc
import sys
from collections.abc import Awaitable, Callable
from typing import TypeVar, TypeVarTuple

import anyio

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

# Of new objects. Those of some hundred attempts live for as long as these run, and by default the interpreter looks
# for rings among them every 700: an eighth of all that a worker of many slots does.
_COLLECT_EVERY = 20_000


def run_process(main: Callable[[*Ts], Awaitable[T]], *arguments: *Ts) -> T:
    """anyio.run, for a process that does nothing else."""
    gc.freeze()
    gc.set_threshold(_COLLECT_EVERY)
    return anyio.run(main, *arguments, backend_options={"use_uvloop": sys.platform != "win32"})
