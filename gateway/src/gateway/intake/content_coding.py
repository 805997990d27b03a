"""gzip and deflate: bodies of requests within a limit on what comes out, and bodies of responses. Knows no route.

What may take long is done in a thread, since the event loop serves every other request.
"""

import gzip
import zlib
from typing import Literal

from anyio import to_thread

from gateway.edge.problems import ProblemError

Coding = Literal["gzip", "deflate"]

# deflate is the format of zlib (RFC 9110, section 8.4.1.2).
_WINDOWS: dict[Coding, int] = {"gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}
# What a loop has time for.
_INLINE_BYTES = 65_536
# A smaller body would hardly become smaller.
_WORTH_BYTES = 1024
_LEVEL = 1


async def decoded(body: bytes, content_encoding: str, *, max_bytes: int) -> bytes:
    """content_encoding: the header, empty if there is none. max_bytes: of what comes out, and no more is made.
    ProblemError 400, 413 or 415."""
    coding = content_encoding.strip().lower()
    if coding in ("", "identity"):
        return body
    window = next((window for name, window in _WINDOWS.items() if name == coding), None)
    if window is None:
        raise ProblemError(415, "encoding_unsupported", "send the body as it is, or with gzip or deflate")
    stream = zlib.decompressobj(window)
    found = _inflate(stream, body, min(_INLINE_BYTES, max_bytes + 1))
    if not stream.eof and len(found) == _INLINE_BYTES and max_bytes >= _INLINE_BYTES:
        rest = max_bytes + 1 - len(found)
        found += await to_thread.run_sync(_inflate, stream, stream.unconsumed_tail, rest)
    if len(found) > max_bytes:
        raise ProblemError(413, "body_too_large", f"a body may have at most {max_bytes} bytes when it is decoded")
    if not stream.eof or stream.unused_data:
        raise _malformed()
    return found


async def encoded(body: bytes, accept_encoding: str) -> tuple[bytes, Coding | None]:
    """-> (the body, its coding; None if it is as it was)"""
    coding = accepted(accept_encoding) if len(body) >= _WORTH_BYTES else None
    if coding is None:
        return body, None
    if len(body) <= _INLINE_BYTES:
        return _compressed(body, coding), coding
    return await to_thread.run_sync(_compressed, body, coding), coding


def accepted(accept_encoding: str) -> Coding | None:
    """The first of gzip and deflate that the header names, unless with a weight of 0."""
    named = {part.partition(";")[0].strip(): part.partition(";")[2] for part in accept_encoding.lower().split(",")}
    for coding in _WINDOWS:
        if coding in named and not _is_zero(named[coding]):
            return coding
    return None


def _is_zero(parameters: str) -> bool:
    name, _, value = parameters.partition("=")
    return name.strip() == "q" and not value.strip().strip("0.")


def _inflate(stream: "zlib._Decompress", data: bytes, most: int) -> bytes:
    try:
        return stream.decompress(data, most)
    except zlib.error:
        raise _malformed() from None


def _compressed(body: bytes, coding: Coding) -> bytes:
    return gzip.compress(body, _LEVEL, mtime=0) if coding == "gzip" else zlib.compress(body, _LEVEL)


def _malformed() -> ProblemError:
    return ProblemError(400, "malformed_body", "the body is not what its Content-Encoding says")
