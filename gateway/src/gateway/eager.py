"""Runs a coroutine as far as it goes without waiting: most need not. Knows nothing of what they do.

Python 3.12 calls this an eager task.
"""

import types
from collections.abc import Awaitable, Coroutine, Generator
from contextlib import suppress
from typing import Any, cast


def run_until_blocked(act: Awaitable[None]) -> Awaitable[None] | None:
    """Run a coroutine up to where it waits for something. -> the rest of it, to be awaited; None if it is through."""
    coroutine = cast("Coroutine[Any, Any, None]", act)
    try:
        waits_for = coroutine.send(None)
    except StopIteration:
        return None
    return _rest(coroutine, waits_for)


@types.coroutine
def _rest(coroutine: "Coroutine[Any, Any, None]", waits_for: Any) -> Generator[Any, Any, None]:
    with suppress(StopIteration):
        while True:
            try:
                heard = yield waits_for
            except BaseException as error:  # a cancellation, for whom it is meant
                waits_for = coroutine.throw(error)
            else:
                waits_for = coroutine.send(heard)
