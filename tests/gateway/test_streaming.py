"""What a line does where the server makes it wait, and where the server fails."""

import anyio
import pytest
from gateway.feed.streaming import PIECE_BYTES, ReaderStream


class Server:
    """A wire that makes what is written wait until it is let go on, and then raises what it was told to."""

    def __init__(self, error: Exception | None) -> None:
        self.goes_on, self.error, self.pieces, self.was_aborted = anyio.Event(), error, list[bytes](), False

    async def write(self, piece: bytes, *, is_last: bool = False) -> None:
        await self.goes_on.wait()
        if self.error is not None:
            raise self.error
        self.pieces.append(piece)

    def abort(self) -> None:
        self.was_aborted = True


def a_line(server: Server, *, timeout_s: float) -> ReaderStream[bytes]:
    return ReaderStream(server, bytes, timeout_s=timeout_s, has_comments=True)


async def test_what_the_server_makes_wait_is_sent_whole_and_in_order() -> None:
    server, chunk = Server(None), b"0123456789" * PIECE_BYTES
    line = a_line(server, timeout_s=60.0)
    line.push(chunk)
    assert line.is_busy
    server.goes_on.set()
    await line.flush()

    assert not line.is_busy
    assert b"".join(server.pieces) == chunk
    assert not server.was_aborted


@pytest.mark.parametrize("error", [OSError("the reader is gone"), RuntimeError("of the server's own")])
async def test_a_server_that_fails_after_a_wait_ends_the_line(error: Exception) -> None:
    server = Server(error)
    line = a_line(server, timeout_s=60.0)
    line.push(b"a chunk")
    server.goes_on.set()
    await line.flush()

    assert not line.is_busy
    assert server.was_aborted
    assert server.pieces == []


async def test_a_reader_that_takes_nothing_is_dropped() -> None:
    server = Server(None)
    line = a_line(server, timeout_s=0.01)
    line.push(b"a chunk")
    with anyio.fail_after(10):
        await line.flush()

    assert not line.is_busy
    assert server.was_aborted
