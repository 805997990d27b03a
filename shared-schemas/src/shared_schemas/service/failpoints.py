"""Named places in the code where a test may kill, stop or block the process. Knows no test and no
setting.

Only tests arm them: no entry point does, and no setting can.
"""

from collections.abc import Callable

_action: Callable[[str], None] | None = None


def arm(action: Callable[[str], None]) -> None:
    """Call `action` with the name of each place that is reached from now on, on the thread that
    reaches it."""
    global _action
    _action = action


def failpoint(name: str) -> None:
    """Call the armed action, if there is one. A test can interrupt an attempt, a submission or an
    event stream here."""
    if _action is not None:
        _action(name)
