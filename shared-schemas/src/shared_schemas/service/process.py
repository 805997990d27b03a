"""What the process of each service does at its start: tune the garbage collector, and end with one line if a setting is
wrong. It knows no service."""

import gc
import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NoReturn

from shared_schemas.service.settings import SettingsRejected

# How many new objects there are before the garbage collector looks for cycles among them. By default that is 700, fewer
# than belong to the attempts and requests under way, which are all still in use. It cost a worker of many slots an
# eighth of its time, a submission a tenth, and made pauses of up to 50 ms.
_COLLECT_EVERY = 20_000


def processor() -> str:
    """The model of this machine's CPU, on which the last bits of a sum depend."""
    with suppress(OSError), open("/proc/cpuinfo", encoding="utf-8", errors="replace") as lines:
        for line in lines:
            if line.startswith("model name"):
                return line.partition(":")[2].strip()[:64]
    return platform.machine()


def tune_garbage_collector() -> None:
    """Call it once all modules are imported. What exists now is never looked at again, the rest less often."""
    gc.freeze()
    gc.set_threshold(_COLLECT_EVERY)


@contextmanager
def settings_checked(part: str) -> Iterator[None]:
    """SettingsRejected becomes one line, `part: message`, and exit code 78."""
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
