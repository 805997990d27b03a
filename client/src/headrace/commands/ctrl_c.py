"""Makes sure that a Ctrl-C interrupts a wait. Knows no command."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager

_AGAIN_S = 0.2


@contextmanager
def interruptible() -> Iterator[None]:
    """Have Ctrl-C raise KeyboardInterrupt in the block, in the main thread. Python drops an
    exception of a signal handler that runs inside a callback, such as the one that releases an
    import lock. So this raises it again until the block ends."""
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
