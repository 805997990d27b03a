"""What the process of each service does at its start. Knows no service.

It tunes the garbage collector, and ends with one line of text if a setting is wrong.
"""

import gc
import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NoReturn

from shared_schemas.service.settings import SettingsRejected

# After so many new objects the garbage collector looks for cycles among them. The default is 700. Attempts and requests
# under way have more objects than that, all of them in use. With the default, a worker with many slots spent an eighth
# of its time on this, a submission a tenth, and there were pauses of up to 50 ms.
_COLLECT_EVERY = 20_000


def processor() -> str:
    """The model of this machine's CPU, on which the last bits of a sum depend."""
    with suppress(OSError), open("/proc/cpuinfo", encoding="utf-8", errors="replace") as lines:
        for line in lines:
            if line.startswith("model name"):
                return line.partition(":")[2].strip()[:64]
    return platform.machine()


def tune_garbage_collector() -> None:
    """Call it after all modules are imported. The collector ignores what exists now, and runs less
    often."""
    gc.freeze()
    gc.set_threshold(_COLLECT_EVERY)


@contextmanager
def settings_checked(part: str) -> Iterator[None]:
    """If SettingsRejected is raised, print one line, `part: message`, and exit with code 78."""
    try:
        yield
    except SettingsRejected as error:
        _end(part, error)
    except ExceptionGroup as group:
        # It was raised in a task.
        rejected = group.subgroup(SettingsRejected)
        while isinstance(rejected, ExceptionGroup):
            rejected = rejected.exceptions[0]  # type: ignore[assignment]
        if rejected is None:
            raise
        _end(part, rejected)


def _end(part: str, error: Exception) -> NoReturn:
    print(f"{part}: {error}", file=sys.stderr)
    raise SystemExit(os.EX_CONFIG) from None
