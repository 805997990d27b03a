"""Named places at which a test may kill, stop or block the process that reaches them. Knows no test and no setting.

Nothing in production arms one: no entry point of a part does, and no setting can.
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
