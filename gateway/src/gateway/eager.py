"""Runs a coroutine as far as it goes without waiting. Most coroutines here need not wait. Knows
nothing of what they do.

Python 3.12 calls this an eager task.
"""

import types
from collections.abc import Awaitable, Coroutine, Generator
from contextlib import suppress
from typing import Any, cast


def run_until_blocked(act: Awaitable[None]) -> Awaitable[None] | None:
    """Run a coroutine up to where it waits for something. -> the rest of it, to be awaited. None if
    it has ended."""
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
                sent = yield waits_for
            except BaseException as error:  # a cancellation, which is meant for the coroutine
                waits_for = coroutine.throw(error)
            else:
                waits_for = coroutine.send(sent)
