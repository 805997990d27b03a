"""Parses server-sent events from chunks of bytes, however they are split.

Follows the event stream interpretation of the WHATWG HTML standard, section 9.2.6
(https://html.spec.whatwg.org/multipage/server-sent-events.html). Knows neither HTTP nor jobs.
"""

import re

import msgspec

from headrace.errors import ProtocolError

_LINE_END = re.compile(rb"\r\n|\r|\n")
_BOM = b"\xef\xbb\xbf"
_MAX_EVENT_BYTES = 64 * 1024 * 1024


class ServerSentEvent(msgspec.Struct, frozen=True):
    """event: its name, `message` if the server gave none. id: the last event
    id when the event came."""

    event: str
    data: str
    id: str


class SseParser:
    """last_event_id: to be sent when reconnecting. retry_ms: the delay that the server asks
    for; None if it does not."""

    def __init__(self) -> None:
        self.last_event_id = ""
        self.retry_ms: int | None = None
        self._partial: list[bytes] = []
        self._held_bytes = 0
        self._after_cr = False
        self._at_start = True
        self._event = ""
        self._data: list[str] = []

    def feed(self, chunk: bytes) -> list[ServerSentEvent]:
        """The events that `chunk` completes. ProtocolError if one grows past 64 MiB."""
        if self._after_cr and chunk:
            chunk = chunk.removeprefix(b"\n")
            self._after_cr = False
        if not chunk:
            return []
        self._after_cr = chunk.endswith(b"\r")
        self._held_bytes += len(chunk)
        lines = _LINE_END.split(chunk)
        self._partial.append(lines[0])
        if len(lines) == 1:
            self._check_size()
            return []
        lines[0] = b"".join(self._partial)
        self._partial = [lines.pop()]
        events = [event for line in lines if (event := self._take_line(line)) is not None]
        self._check_size()
        return events

    def _take_line(self, line: bytes) -> ServerSentEvent | None:
        if self._at_start:
            line = line.removeprefix(_BOM)
            self._at_start = False
        if not line:
            return self._dispatch()
        # No byte of a longer UTF-8 sequence is CR or LF, so a line can be decoded alone.
        name, _, value = line.decode(errors="replace").partition(":")
        value = value.removeprefix(" ")
        match name:
            case "data":
                self._data.append(value)
            case "event":
                self._event = value
            case "id" if "\0" not in value:
                self.last_event_id = value
            case "retry" if value.isascii() and value.isdigit():
                self.retry_ms = int(value[:9])
        return None

    def _dispatch(self) -> ServerSentEvent | None:
        event, data = self._event, self._data
        self._event, self._data, self._held_bytes = "", [], 0
        if not data:
            return None
        return ServerSentEvent(event or "message", "\n".join(data), self.last_event_id)

    def _check_size(self) -> None:
        if self._held_bytes > _MAX_EVENT_BYTES:
            raise ProtocolError("the server sent an event longer than 64 MiB")
