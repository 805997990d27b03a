"""Ends open event streams when the process gets a signal to stop.

A server waits for open responses before it ends the application's lifespan, and an event stream
would not end by itself. Knows no stream: it calls a function.
"""

import asyncio
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


@contextmanager
def called_on_signal(close: Callable[[], None]) -> Iterator[None]:
    """Call `close` on the event loop at each SIGTERM or SIGINT, and then the handler that the
    signal had before. A signal without a handler is left alone, and so are all signals outside the
    main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    before = {number: signal.getsignal(number) for number in _SIGNALS}

    def handle(number: int, frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(close)
        handler = before[signal.Signals(number)]
        if callable(handler):
            handler(number, frame)

    handled = [number for number, handler in before.items() if callable(handler)]
    for number in handled:
        signal.signal(number, handle)
    try:
        yield
    finally:
        for number in handled:
            signal.signal(number, before[number])
