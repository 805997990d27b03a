"""A Ctrl-C that is not lost. Knows no command."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager

_AGAIN_S = 0.2


@contextmanager
def heeding_ctrl_c() -> Iterator[None]:
    """While something is waited for, in the main thread. Python drops what a signal's handler raises where it runs
    inside a callback, such as the one that ends the lock of an import: here it is raised again until it is seen."""
    if not hasattr(signal, "setitimer"):  # Windows
        yield
        return

    def interrupt(*_: object) -> None:
        signal.setitimer(signal.ITIMER_REAL, _AGAIN_S)
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGALRM)}
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in before.items():
            signal.signal(number, handler)
