"""Several observers as one. Knows no event.

A service defines its events as the methods of a class, which ignore them. Metrics and logs are
subclasses that override the methods of the events that they want.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

T = TypeVar("T")


def combined(kind: type[T], *observers: T) -> T:
    """An observer that passes each event to the observers that override it, in their order. If
    one observer overrides an event, the event calls its method directly. If none does, the event is an
    empty call. kind: the class whose public methods are the events."""
    made = kind()
    for event, ignored in vars(kind).items():
        if event.startswith("_"):
            continue
        wanted = [getattr(each, event) for each in observers if getattr(type(each), event) is not ignored]
        if wanted:
            setattr(made, event, wanted[0] if len(wanted) == 1 else _to_each(wanted))
    return made


def _to_each(methods: Sequence[Callable[..., None]]) -> Callable[..., None]:
    def call_each(*fields: Any) -> None:
        for method in methods:
            method(*fields)

    return call_each
