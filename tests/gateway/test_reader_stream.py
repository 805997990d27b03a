"""What an event stream does when the server makes it wait, and when the server fails."""

import anyio
import pytest
from gateway.feed.reader_stream import PIECE_BYTES, ReaderStream
from gateway.instrument import GatewayObserver


class Server:
    """A ResponseWriter whose writes wait for `goes_on`, and then raise `error`, if there is one."""

    def __init__(self, error: Exception | None) -> None:
        self.goes_on, self.error, self.pieces, self.was_aborted = anyio.Event(), error, list[bytes](), False

    async def write(self, piece: bytes, *, is_last: bool = False) -> None:
        await self.goes_on.wait()
        if self.error is not None:
            raise self.error
        self.pieces.append(piece)

    def abort(self) -> None:
        self.was_aborted = True


def stream_to(server: Server, *, timeout_s: float) -> ReaderStream[bytes]:
    return ReaderStream(server, bytes, GatewayObserver(), timeout_s=timeout_s, keep_alive=b"")


async def test_what_the_server_makes_wait_is_sent_whole_and_in_order() -> None:
    server, chunk = Server(None), b"0123456789" * PIECE_BYTES
    stream = stream_to(server, timeout_s=60.0)
    stream.push(chunk)
    assert stream.is_busy
    server.goes_on.set()
    await stream.flush()

    assert not stream.is_busy
    assert b"".join(server.pieces) == chunk
    assert not server.was_aborted


@pytest.mark.parametrize("error", [OSError("the reader is gone"), RuntimeError("the server has failed")])
async def test_a_server_that_fails_after_a_wait_ends_the_stream(error: Exception) -> None:
    server = Server(error)
    stream = stream_to(server, timeout_s=60.0)
    stream.push(b"a chunk")
    server.goes_on.set()
    await stream.flush()

    assert not stream.is_busy
    assert server.was_aborted
    assert server.pieces == []


async def test_a_reader_that_takes_nothing_is_dropped() -> None:
    server = Server(None)
    stream = stream_to(server, timeout_s=0.01)
    stream.push(b"a chunk")
    with anyio.fail_after(10):
        await stream.flush()

    assert not stream.is_busy
    assert server.was_aborted
