"""uvicorn's connection with limits: how much it may send, how long that may take, and how much of
it is kept.

uvicorn itself does not limit the size of a head, reads on while nobody takes the response, and
waits for ever for a request that does not come. Only this module, `uvicorn_parts` and
`response_writers` use private parts of uvicorn. Knows no route.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

import httptools

from gateway.edge import heads
from gateway.edge.extensions import TAKE_OVER
from gateway.edge.problems import ProblemError
from gateway.edge.response_writers import (
    HeadJoiningTransport,
    LazyFlowControl,
    Pipeline,
    TransportWriter,
    UnchunkedTransport,
)
from gateway.edge.uvicorn_parts import HttpToolsProtocol, RequestResponseCycle
from gateway.instrument import GatewayObserver
from gateway.settings import GatewaySettings

# The message event of responses that were taken over. Nobody waits for it.
_NEVER_SET = asyncio.Event()
# Bytes that are parsed at once. Most requests fit into one piece, and a piece of small requests
# holds only a few.
_PIECE_BYTES = 4096
# Header fields and parts of bodies that are taken in one turn of the event loop. A body in chunks
# of one byte takes a thousand times as long as others, and no other request is served meanwhile.
_TURN_PARTS = 500
# How long a refused connection is read after the response. If it were reset while the client still
# sends, the client would lose the response.
_LINGER_S = 2.0
# What the connection reads now: nothing yet, the head of a request, or its body.
_BETWEEN, _HEAD, _BODY = range(3)


class GatewayProtocol(HttpToolsProtocol):
    """Limits heads and trailers, the time that they take, and the requests that wait behind a
    response.

    The application can take over a response that is an event stream. A connection whose reader
    takes nothing of the rest of a response for send_timeout_s is aborted, because closing it would
    wait for ever.
    """

    flow: LazyFlowControl

    def __init__(self, *args: Any, settings: GatewaySettings, observer: GatewayObserver, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._settings, self._observer = settings, observer
        self._unsent_timer: asyncio.TimerHandle | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._writer: TransportWriter | None = None
        self._is_chunked = True
        # The request that is being answered. uvicorn's `cycle` is the one that was read last.
        self._current: RequestResponseCycle | None = None
        self._place = _BETWEEN
        # _n_framing: bytes since the head began, or since the last part of the body.
        # _n_framing_left: how many more bytes of framing the body may have: as many as it has of
        # content, and max_head_bytes.
        self._n_framing = self._n_framing_left = 0
        # Counted exactly, while the framing of a body is counted in whole pieces.
        self._n_trailers = 0
        # The parser is being fed a head that no client has sent.
        self._is_prompting = False
        # What was read and is not parsed yet, and how many parts were taken in this turn of the
        # event loop.
        self._unparsed, self._n_parts = b"", 0
        # _fault: why nothing more is taken. _refusal: the response that says so. It is sent after
        # the responses to all earlier requests.
        self._fault: ProblemError | None = None
        self._refusal = b""
        self.pipeline: Any = Pipeline()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.flow = LazyFlowControl(transport)
        if len(self.connections) > self._settings.max_connections:
            self._refuse(heads.too_many_connections())
        else:
            self._await_head()

    def data_received(self, data: bytes) -> None:
        if self._fault is not None:
            return
        self._unset_keepalive_if_required()
        if self._unparsed:
            self._unparsed += data
        elif len(data) <= _PIECE_BYTES and not self.pipeline:
            self._feed(data)
        else:
            self._parse(data)

    def on_message_begin(self) -> None:
        if not self._is_prompting:
            super().on_message_begin()
            self._place, self._n_framing = _HEAD, 0

    def on_header(self, name: bytes, value: bytes) -> None:
        self._n_parts += 1
        if self._place != _HEAD:
            # Nothing here uses trailers, so they are only counted.
            self._n_trailers += len(name) + len(value) + 4
            if self._n_trailers > self._settings.max_head_bytes:
                self._fault = self._fault or self._too_large()
            return
        if len(self.headers) >= heads.MOST_HEADERS:
            self._fault = self._fault or self._too_large()
            return
        name = name.lower()
        if name == b"expect":
            self.expect_100_continue = value.lower() == b"100-continue"
        elif name == b"transfer-encoding" and value.strip().lower() != b"chunked":
            self._fault = self._fault or heads.malformed("a body may be sent in chunks, and in no other coding")
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        if self._is_prompting:
            return
        version = self.parser.get_http_version()
        self._fault = self._fault or self._fault_of_head(version)
        if self._fault is not None:
            return
        super().on_headers_complete()
        self._stop_timer()
        self._place, self._n_framing_left, self._n_trailers = _BODY, self._settings.max_head_bytes, 0
        if self.url[:1] not in (b"/", b"*"):
            self._set_host_from_target()
        transport: Any = HeadJoiningTransport(self.cycle) if version == "1.1" else UnchunkedTransport(self.cycle)
        self.cycle.transport = transport
        extensions: dict[str, Any] = self.scope.setdefault("extensions", {})
        extensions[TAKE_OVER] = partial(self._take_over, self.cycle)

    def on_body(self, body: bytes) -> None:
        if self._fault is None:
            self._n_parts += 1
            self._n_framing = 0
            self._n_framing_left += 2 * len(body)
            super().on_body(body)

    def on_message_complete(self) -> None:
        if self._fault is None and not (self.parser.should_upgrade() and self._framing()):
            self._place = _BETWEEN
            self._stop_timer()
            super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._unsent_timer is not None:
            self._unsent_timer.cancel()
        self._watch_unsent()
        if self._unparsed and not self.pipeline:
            self.loop.call_soon(self._parse_rest)
        elif self._place == _BODY and not self._is_answering():
            # Its response is complete, and the rest of its body may never come.
            self._start_timer(self.transport.close)
        if self._refusal and not self._is_answering() and not self.transport.is_closing():
            self._write_refusal()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        self._unparsed = b""
        super().connection_lost(exc)
        # uvicorn disconnects only the request that was read last.
        if self._current is not None and not self._current.response_complete:
            self._current.disconnected = True
            self._current.message_event.set()
        self._release_stream()

    def end(self, cycle: RequestResponseCycle, *, is_complete: bool = True) -> None:
        """End a response that was taken over. If it is not complete, the reader
        must be able to see that."""
        cycle.response_complete = True
        self.loop.call_soon(self._release_stream)
        if is_complete and cycle.keep_alive:
            pass
        elif is_complete or self._is_chunked:  # a reader sees that the last chunk is missing
            self.transport.close()
        else:
            self.transport.abort()
        self.on_response_complete()

    def _parse(self, data: bytes) -> None:
        at = self._n_parts = 0
        while at < len(data) and self._fault is None:
            is_turn_over = self._n_parts > _TURN_PARTS
            if is_turn_over or len(self.pipeline) >= self._settings.max_pipelined:
                self._unparsed, self.flow.is_held = data[at:], True
                self.flow.pause_reading()
                if is_turn_over:
                    self.loop.call_soon(self._parse_rest)
                return
            piece = data if len(data) <= _PIECE_BYTES else data[at : at + _PIECE_BYTES]
            at += len(piece)
            self._feed(piece)

    def _feed(self, piece: bytes) -> None:
        place = self._place
        try:
            self.parser.feed_data(piece)
        except httptools.HttpParserUpgrade as upgrade:
            # The gateway does not change the protocol, and answers the request like any other.
            [at] = upgrade.args
            self._prompt_for_body()
            if at < len(piece):
                self._feed(piece[at:])
            return
        except httptools.HttpParserError:
            self._fault = self._fault or heads.malformed()
        if self._fault is None and self._place != _BETWEEN:
            # A piece in which the head or the body began is not counted.
            if place == self._place:
                self._n_framing += len(piece)
                self._n_framing_left -= len(piece)
            if self._n_framing > self._settings.max_head_bytes:
                self._fault = self._too_large()
            elif self._place == _BODY and self._n_framing_left < 0:
                self._fault = heads.malformed("the chunks of the body have much more framing than content")
        if self._fault is not None:
            self._refuse(self._fault)
        elif self._timer is None and (self._place == _HEAD or (self._place == _BETWEEN and not self._is_answering())):
            self._await_head()

    def _prompt_for_body(self) -> None:
        """Have the parser read the body of a request that asks for an upgrade. The parser takes
        those bytes for another protocol, so it is fed a head of our own first. Java's client asks
        for an upgrade with each request, and so does `curl --http2`."""
        if framing := self._framing():
            self._is_prompting = True
            self.parser.feed_data(b"POST / HTTP/1.1\r\n%b\r\n" % framing)
            self._is_prompting = False

    def _framing(self) -> bytes:
        """The headers that announce a body; empty if there is no body."""
        lines = [
            b"%b: %b\r\n" % (name, value)
            for name, value in self.headers
            if name == b"transfer-encoding" or (name == b"content-length" and value.strip(b" 0"))
        ]
        return b"".join(lines)

    def _parse_rest(self) -> None:
        """Parse what was read before, now that a request before it has been answered or a new turn
        has begun."""
        data, self._unparsed, self.flow.is_held = self._unparsed, b"", False
        if not self.transport.is_closing():
            self.flow.resume_reading()
            self._parse(data)

    def _fault_of_head(self, version: str) -> ProblemError | None:
        limit = self._settings.max_head_bytes
        # Only a head in several pieces can be too large.
        if self._n_framing and len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers) > limit:
            return self._too_large()
        return None if version in ("1.1", "1.0") else heads.unknown_version()

    def _too_large(self) -> ProblemError:
        limit = self._settings.max_head_bytes
        return heads.too_large(limit, is_target=len(self.url) > limit // 2)

    def _set_host_from_target(self) -> None:
        """A target that names a host takes precedence over the header (RFC 9112, section 3.2.2)."""
        host = httptools.parse_url(self.url).host
        self.headers[:] = [(name, value) for name, value in self.headers if name != b"host"] + [(b"host", host or b"")]

    def _is_answering(self) -> bool:
        return bool(self.pipeline) or (self._current is not None and not self._current.response_complete)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._current = cycle
        super()._start_asgi_task(cycle, app)

    def _await_head(self) -> None:
        self._start_timer(lambda: self._refuse(heads.too_late(self._settings.head_timeout_s)))

    def _start_timer(self, otherwise: Callable[[], None]) -> None:
        self._stop_timer()
        self._timer = self.loop.call_later(self._settings.head_timeout_s, otherwise)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _refuse(self, problem: ProblemError) -> None:
        """Take nothing more. The refusal is sent after the responses to earlier requests."""
        self._fault, self._unparsed = problem, b""
        self._refusal = heads.response_bytes(problem, self.server_state.default_headers)
        self._stop_timer()
        self._observer.request_refused(problem.code, problem.status)
        if self._place == _BODY and not self.cycle.response_complete:
            self._abandon(self.cycle)
        elif not self._is_answering():
            self._write_refusal()

    def _abandon(self, cycle: RequestResponseCycle) -> None:
        """Give up a request that cannot be read to its end."""
        if cycle is not self._current:  # it is the newest of the waiting requests
            self.pipeline.pop(0)
            return
        cycle.disconnected = True
        cycle.message_event.set()
        if cycle.response_started:
            self.transport.abort()
        else:
            self._write_refusal()

    def _write_refusal(self) -> None:
        self.transport.write(self._refusal)
        self._refusal = b""
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.flow.is_held = False
        self.flow.resume_reading()
        self._unset_keepalive_if_required()
        self._timer = self.loop.call_later(_LINGER_S, self.transport.abort)

    def _take_over(self, cycle: RequestResponseCycle) -> TransportWriter | None:
        if cycle.disconnected:
            return None
        self._is_chunked = cycle.scope["http_version"] == "1.1"
        # uvicorn lets an application leave a response incomplete only if its reader has left.
        cycle.disconnected = True
        # The request would take a good part of the memory of an open stream.
        nothing: Any = {}
        cycle.scope, cycle.message_event = nothing, _NEVER_SET
        if cycle is self.cycle:
            self.scope, self.headers = nothing, []
        self._writer = TransportWriter(self, cycle, is_chunked=self._is_chunked)
        return self._writer

    def _release_stream(self) -> None:
        if self._writer is not None:
            writer, self._writer = self._writer, None
            writer.on_over()

    def _watch_unsent(self) -> None:
        if left := self.transport.get_write_buffer_size():
            self._unsent_timer = self.loop.call_later(self._settings.send_timeout_s, self._check_unsent, left)

    def _check_unsent(self, before: int) -> None:
        current = self._current
        if current is not None and current.response_started and not current.response_complete:
            return  # The next response is being written, and is watched by itself.
        if self.transport.get_write_buffer_size() < before:
            self._watch_unsent()
        else:
            self._observer.slow_reader_dropped(self._settings.send_timeout_s)
            self.transport.abort()
