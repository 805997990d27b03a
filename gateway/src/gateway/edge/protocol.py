"""One connection, as uvicorn has it, and bounded: what it may send, for how long, and how much of it is kept.

uvicorn parses without a bound on heads, reads on behind an answer that nobody takes, and waits for ever for a request
that does not come. The private parts of uvicorn that this needs are used in this module, in `uvicorn_parts` and in
`response_writers`, and nowhere else.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

import httptools
import structlog

from gateway import metrics
from gateway.edge import heads
from gateway.edge.extensions import TAKE_OVER
from gateway.edge.problems import ProblemError
from gateway.edge.response_writers import Flow, Joined, Pipeline, TransportWriter, Whole
from gateway.edge.uvicorn_parts import HttpToolsProtocol, RequestResponseCycle
from gateway.settings import GatewaySettings

# For answers that nobody waits in.
_UNHEARD = asyncio.Event()
# What is parsed in one go. Most requests are one piece; of smaller ones a piece makes few.
_PIECE_BYTES = 4096
# Lines of heads and parts of bodies that are taken in one turn of the event loop. Parts of one byte take a thousand
# times as long as others do, and nobody else is served meanwhile.
_TURN_PARTS = 500
# A client that is still sending would lose an answer that is followed by a reset.
_LINGER_S = 2.0
# Where in a request the connection is.
_BETWEEN, _HEAD, _BODY = range(3)


class GatewayProtocol(HttpToolsProtocol):
    """Bounds heads, trailers, the time that they take, and the requests behind an answer. Lets go of an answer that is
    a stream, and aborts a connection whose reader takes nothing of what is left of an answer for send_timeout_s:
    closing it would wait for ever."""

    flow: Flow

    def __init__(self, *args: Any, settings: GatewaySettings, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._settings = settings
        self._check: asyncio.TimerHandle | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._writer: TransportWriter | None = None
        self._is_chunked = True
        # The request that is being answered; `cycle` is the one that was read last.
        self._current: RequestResponseCycle | None = None
        self._place = _BETWEEN
        # Bytes since the last that were part of a body, or since the head began; and how many more of that kind a body
        # may have: as many as it has others, and some.
        self._n_framing = self._n_spare = 0
        # Pieces are counted roughly, trailers to the byte.
        self._n_trailers = 0
        # The parser is told something that no client has sent.
        self._is_prompting = False
        # Read and not parsed yet; and how many parts were taken in this turn.
        self._rest, self._n_parts = b"", 0
        # Why nothing more is taken; what to say of it once all before it has been answered.
        self._fault: ProblemError | None = None
        self._parting = b""
        self.pipeline: Any = Pipeline()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.flow = Flow(transport)
        if len(self.connections) > self._settings.max_connections:
            self._refuse(heads.too_many_connections())
        else:
            self._expect_head()

    def data_received(self, data: bytes) -> None:
        if self._fault is not None:
            return
        self._unset_keepalive_if_required()
        if self._rest:
            self._rest += data
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
            # Trailers say nothing that anybody here asks for.
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
        self._place, self._n_spare, self._n_trailers = _BODY, self._settings.max_head_bytes, 0
        if self.url[:1] not in (b"/", b"*"):
            self._name_host()
        joined: Any = Joined(self.cycle) if version == "1.1" else Whole(self.cycle)
        self.cycle.transport = joined
        extensions: dict[str, Any] = self.scope.setdefault("extensions", {})
        extensions[TAKE_OVER] = partial(self._take_over, self.cycle)

    def on_body(self, body: bytes) -> None:
        if self._fault is None:
            self._n_parts += 1
            self._n_framing = 0
            self._n_spare += 2 * len(body)
            super().on_body(body)

    def on_message_complete(self) -> None:
        if self._fault is None and not (self.parser.should_upgrade() and self._framing()):
            self._place = _BETWEEN
            self._stop_timer()
            super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._check is not None:
            self._check.cancel()
        self._expect_taken()
        if self._rest and not self.pipeline:
            self.loop.call_soon(self._go_on)
        elif self._place == _BODY and not self._is_answering():
            # Its answer has been given, whatever may still come of it.
            self._expect(self.transport.close)
        if self._parting and not self._is_answering() and not self.transport.is_closing():
            self._part()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        self._rest = b""
        super().connection_lost(exc)
        # uvicorn tells the request that was read last.
        if self._current is not None and not self._current.response_complete:
            self._current.disconnected = True
            self._current.message_event.set()
        self._let_go()

    def end(self, cycle: RequestResponseCycle, *, is_whole: bool = True) -> None:
        """The answer that was taken over is whole, or can never be: then its reader must see that."""
        cycle.response_complete = True
        self.loop.call_soon(self._let_go)
        if is_whole and cycle.keep_alive:
            pass
        elif is_whole or self._is_chunked:  # without its last chunk, a body is not whole
            self.transport.close()
        else:
            self.transport.abort()
        self.on_response_complete()

    def _parse(self, data: bytes) -> None:
        at = self._n_parts = 0
        while at < len(data) and self._fault is None:
            is_turn_over = self._n_parts > _TURN_PARTS
            if is_turn_over or len(self.pipeline) >= self._settings.max_pipelined:
                self._rest, self.flow.is_held = data[at:], True
                self.flow.pause_reading()
                if is_turn_over:
                    self.loop.call_soon(self._go_on)
                return
            piece = data if len(data) <= _PIECE_BYTES else data[at : at + _PIECE_BYTES]
            at += len(piece)
            self._feed(piece)

    def _feed(self, piece: bytes) -> None:
        place = self._place
        try:
            self.parser.feed_data(piece)
        except httptools.HttpParserUpgrade as upgrade:
            # To no other protocol: the request is answered as any.
            [at] = upgrade.args
            self._prompt_for_body()
            if at < len(piece):
                self._feed(piece[at:])
            return
        except httptools.HttpParserError:
            self._fault = self._fault or heads.malformed()
        if self._fault is None and self._place != _BETWEEN:
            # A piece in which it began, or in which there was some of the body, is not counted.
            if place == self._place:
                self._n_framing += len(piece)
                self._n_spare -= len(piece)
            if self._n_framing > self._settings.max_head_bytes:
                self._fault = self._too_large()
            elif self._place == _BODY and self._n_spare < 0:
                self._fault = heads.malformed("there is more to the chunks of the body than what they hold")
        if self._fault is not None:
            self._refuse(self._fault)
        elif self._timer is None and (self._place == _HEAD or (self._place == _BETWEEN and not self._is_answering())):
            self._expect_head()

    def _prompt_for_body(self) -> None:
        """The parser takes what follows a request for an upgrade for another protocol, and so its body for none: a head
        of our own has it read that. Java's client asks with each request, and so does `curl --http2`."""
        if framing := self._framing():
            self._is_prompting = True
            self.parser.feed_data(b"POST / HTTP/1.1\r\n%b\r\n" % framing)
            self._is_prompting = False

    def _framing(self) -> bytes:
        """The headers that announce a body; none if there is to be none."""
        lines = [
            b"%b: %b\r\n" % (name, value)
            for name, value in self.headers
            if name == b"transfer-encoding" or (name == b"content-length" and value.strip(b" 0"))
        ]
        return b"".join(lines)

    def _go_on(self) -> None:
        """With what was read before, once that is answered which came before it."""
        data, self._rest, self.flow.is_held = self._rest, b"", False
        if not self.transport.is_closing():
            self.flow.resume_reading()
            self._parse(data)

    def _fault_of_head(self, version: str) -> ProblemError | None:
        limit = self._settings.max_head_bytes
        # Only what came in several pieces can be so large.
        if self._n_framing and len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers) > limit:
            return self._too_large()
        return None if version in ("1.1", "1.0") else heads.unknown_version()

    def _too_large(self) -> ProblemError:
        limit = self._settings.max_head_bytes
        return heads.too_large(limit, is_target=len(self.url) > limit // 2)

    def _name_host(self) -> None:
        """A target with a host of its own wins over the header (RFC 9112, section 3.2.2)."""
        host = httptools.parse_url(self.url).host
        self.headers[:] = [(name, value) for name, value in self.headers if name != b"host"] + [(b"host", host or b"")]

    def _is_answering(self) -> bool:
        return bool(self.pipeline) or (self._current is not None and not self._current.response_complete)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._current = cycle
        super()._start_asgi_task(cycle, app)

    def _expect_head(self) -> None:
        self._expect(lambda: self._refuse(heads.too_late(self._settings.head_timeout_s)))

    def _expect(self, otherwise: Callable[[], None]) -> None:
        self._stop_timer()
        self._timer = self.loop.call_later(self._settings.head_timeout_s, otherwise)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _refuse(self, problem: ProblemError) -> None:
        """Take nothing more. The answer comes after those to the requests before."""
        self._fault, self._parting, self._rest = problem, heads.written(problem, self.server_state.default_headers), b""
        self._stop_timer()
        structlog.get_logger().info("request_refused", code=problem.code, status=problem.status)
        metrics.count_request("", None, problem.status, 0.0)
        if self._place == _BODY and not self.cycle.response_complete:
            self._give_up(self.cycle)
        elif not self._is_answering():
            self._part()

    def _give_up(self, cycle: RequestResponseCycle) -> None:
        """The request that was being read cannot be read to its end."""
        if cycle is not self._current:  # the last of those that wait
            self.pipeline.pop(0)
            return
        cycle.disconnected = True
        cycle.message_event.set()
        if cycle.response_started:
            self.transport.abort()
        else:
            self._part()

    def _part(self) -> None:
        self.transport.write(self._parting)
        self._parting = b""
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
        # To uvicorn, an application may leave an answer unfinished only where its reader has left.
        cycle.disconnected = True
        # What is kept of the request is a good part of what an open line takes.
        nothing: Any = {}
        cycle.scope, cycle.message_event = nothing, _UNHEARD
        if cycle is self.cycle:
            self.scope, self.headers = nothing, []
        self._writer = TransportWriter(self, cycle, is_chunked=self._is_chunked)
        return self._writer

    def _let_go(self) -> None:
        if self._writer is not None:
            writer, self._writer = self._writer, None
            writer.over()

    def _expect_taken(self) -> None:
        if left := self.transport.get_write_buffer_size():
            self._check = self.loop.call_later(self._settings.send_timeout_s, self._check_taken, left)

    def _check_taken(self, before: int) -> None:
        current = self._current
        if current is not None and current.response_started and not current.response_complete:
            return  # The next answer is on its way, and looks after itself.
        if self.transport.get_write_buffer_size() < before:
            self._expect_taken()
        else:
            metrics.DROPPED.inc()
            structlog.get_logger().warning("slow_reader_dropped", send_timeout_s=self._settings.send_timeout_s)
            self.transport.abort()
