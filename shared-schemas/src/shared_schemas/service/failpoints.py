"""Named places in the code where a test may kill, stop or block the process. It knows no test and no setting.

Nothing arms one in production: no entry point does, and no setting can.
"""

from collections.abc import Callable

_action: Callable[[str], None] | None = None


def arm(action: Callable[[str], None]) -> None:
    """From now on `action` is called with the name of each place that is reached, on the thread that reaches it."""
    global _action
    _action = action


def failpoint(name: str) -> None:
    """Call the armed action, if there is one. A test can cut an attempt, a submission or a stream in two here."""
    if _action is not None:
        _action(name)
