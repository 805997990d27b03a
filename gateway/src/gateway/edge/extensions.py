"""What the server offers the application beyond ASGI, by names in the scope, and what a response is written through."""

from collections.abc import Awaitable, Callable
from typing import Protocol

# The ASGI extension by which GatewayProtocol lets go of a response that has begun: a TakeOver.
TAKE_OVER = "headrace.take_over"
# In the scope of a request that asks for the head of a response alone.
HEAD_ONLY = "headrace.head_only"


class ResponseWriter(Protocol):
    """The rest of one answer on its connection."""

    def write(self, piece: bytes, *, is_last: bool = False) -> Awaitable[None] | None:
        """None: it is taken. Otherwise it is once that has been awaited."""

    def cut(self) -> bool:
        """End the answer as it is, unfinished, once all that was written is sent. False: this server cannot."""

    def abort(self) -> None: ...


class DetachedWriter(ResponseWriter, Protocol):
    """One that outlives the call of the application, which so holds no task while its reader listens."""

    def when_over(self, act: Callable[[], None]) -> None:
        """Once the last piece is written, or the reader has left."""


# None: the reader has left.
TakeOver = Callable[[], DetachedWriter | None]
