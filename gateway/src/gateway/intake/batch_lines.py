"""The lines of a batch: splits a body that arrives in pieces into lines, and decodes each.

Holds one line at a time. Knows neither jobs nor Redis.
"""

import hashlib
from collections.abc import AsyncIterator
from typing import Any

import msgspec
from shared_schemas.batches import BatchError, BatchLine
from shared_schemas.codec import encode_json
from shared_schemas.replies import ProblemItem

from gateway.edge.problems import ProblemError
from gateway.intake.body import decode

_decoder = msgspec.json.Decoder(BatchLine)


class Line(msgspec.Struct, frozen=True):
    """number: counted from 1. content: without its end; None for a line that is too long."""

    number: int
    content: bytes | None

    @property
    def is_blank(self) -> bool:
        return self.content is not None and not self.content.strip()


class LineRefused(Exception):
    """The line is no job. custom_id: of the line, if it can be read."""

    def __init__(self, code: str, message: str, *, param: str | None = None, custom_id: str | None = None) -> None:
        super().__init__(message)
        self.error, self.custom_id = BatchError(code=code, message=message, param=param), custom_id


class LineReader:
    """pieces: of the body. max_line_bytes: of one line; the rest of a longer one is dropped.
    max_bytes: of all. digest: SHA-256 of the lines that were given out, whatever ends them."""

    def __init__(self, pieces: AsyncIterator[bytes], *, max_line_bytes: int, max_bytes: int) -> None:
        self._pieces, self._max_line_bytes, self._max_bytes = pieces, max_line_bytes, max_bytes
        self.digest = hashlib.sha256()

    async def lines(self) -> AsyncIterator[Line]:
        """ProblemError 413."""
        left, is_too_long, number, n_bytes = bytearray(), False, 0, 0
        async for piece in self._pieces:
            n_bytes += len(piece)
            if n_bytes > self._max_bytes:
                raise ProblemError(413, "body_too_large", f"a batch may have at most {self._max_bytes} bytes")
            *ended, rest = piece.split(b"\n")
            for end in ended:
                number += 1
                yield self._line(number, left, end, is_too_long=is_too_long)
                left, is_too_long = bytearray(), False
            is_too_long = is_too_long or len(left) + len(rest) > self._max_line_bytes
            if is_too_long:
                self.digest.update(left + rest)
                left = bytearray()
            else:
                left += rest
        if left or is_too_long:
            yield self._line(number + 1, left, b"", is_too_long=is_too_long)

    def _line(self, number: int, start: bytearray, end: bytes, *, is_too_long: bool) -> Line:
        content = bytes(start) + end
        is_too_long = is_too_long or len(content) > self._max_line_bytes
        self.digest.update(content + b"\n")
        return Line(number, None if is_too_long else content)


def decoded(content: bytes | None, decoder: "msgspec.json.Decoder[Any]") -> tuple[str, Any]:
    """decoder: of the body within the line. -> custom_id, the body as the decoder's Struct.
    LineRefused."""
    if content is None:
        raise LineRefused("body_too_large", "the line is too long")
    try:
        line = decode(content, _decoder)
    except ProblemError as problem:
        raise refusal(problem, custom_id=_custom_id(content)) from None
    try:
        return line.custom_id, decode(bytes(line.body), decoder)
    except ProblemError as problem:
        raise refusal(problem, prefix="/body", custom_id=line.custom_id) from None


def refusal(problem: ProblemError, *, prefix: str = "", custom_id: str | None) -> LineRefused:
    [item] = problem.errors[:1] or [ProblemItem(pointer="", code=problem.code, detail=problem.detail)]
    param = f"{prefix}{item.pointer}" or None
    return LineRefused(item.code, item.detail, param=param, custom_id=custom_id)


def _custom_id(content: bytes) -> str | None:
    try:
        return msgspec.json.decode(content, type=_Named).custom_id
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


class _Named(msgspec.Struct, frozen=True):
    custom_id: str


def encoded_error(number: int, refused: LineRefused) -> bytes:
    """As it is kept: what the line of the errors is made of."""
    return encode_json([refused.custom_id, msgspec.structs.replace(refused.error, line=number)])
