"""What the server offers the application beyond ASGI: the names in the scope, and their types.
Knows no server."""

from collections.abc import Awaitable, Callable
from typing import Protocol

# The ASGI extension with which the application takes over a response that has begun: a TakeOver.
TAKE_OVER = "headrace.take_over"
# In the scope of a HEAD request.
HEAD_ONLY = "headrace.head_only"


class ResponseWriter(Protocol):
    """Writes the rest of one response."""

    def write(self, piece: bytes, *, is_last: bool = False) -> Awaitable[None] | None:
        """-> None if the server took the piece, else what to await until it has"""

    def cut(self) -> bool:
        """End the response incomplete, after all that was written. -> False if the server cannot"""

    def abort(self) -> None:
        """Close the connection at once."""


class DetachedWriter(ResponseWriter, Protocol):
    """Outlives the call of the application, so that an open event stream holds no task."""

    def when_over(self, act: Callable[[], None]) -> None:
        """Call `act` once the last piece is written, or the reader has left."""


# -> None if the reader has left.
TakeOver = Callable[[], DetachedWriter | None]
