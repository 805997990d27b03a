"""Decodes the body and the query of a request into Structs. Checks size, media type, syntax and
schema, in this order. Knows no route."""

import asyncio
import re
from codecs import BOM_UTF8
from collections.abc import Mapping
from functools import cache
from typing import Any, TypeVar

import msgspec
from fastapi import Request
from msgspec.inspect import CollectionType, StructType
from shared_schemas.codec import encode_json
from shared_schemas.replies import ProblemItem

from gateway.eager import run_until_blocked
from gateway.edge.problems import CLOSE, ProblemError
from gateway.intake.leniency import alternatives, as_meant, type_of
from gateway.intake.validation_errors import item_of, shown
from gateway.settings import GatewaySettings

T = TypeVar("T")

_syntax = msgspec.json.Decoder(msgspec.Raw)
_MEDIA = re.compile(rb'application/json\s*(;\s*charset="?utf-8"?\s*)?', re.IGNORECASE)


async def read_json(
    request: Request, headers: Mapping[bytes, bytes], decoder: "msgspec.json.Decoder[T]", settings: GatewaySettings
) -> T:
    """The body as the decoder's Struct. headers: of the request, by names in lower case.
    ProblemError 400, 408, 413, 415 or 422."""
    _check_declared_size(headers, settings.max_body_bytes)
    check_encoding(headers)
    if _MEDIA.fullmatch(headers.get(b"content-type", b"")) is None:
        raise ProblemError(415, "media_type_unsupported", "send the body as application/json in UTF-8")
    return decode(await _whole(request, settings), decoder)


async def read_bytes(request: Request, headers: Mapping[bytes, bytes], settings: GatewaySettings) -> bytes:
    """The body as it was sent, whatever it is. ProblemError 408, 413."""
    _check_declared_size(headers, settings.max_body_bytes)
    return await _whole(request, settings)


def _check_declared_size(headers: Mapping[bytes, bytes], max_bytes: int) -> None:
    declared = headers.get(b"content-length")
    # The server has checked that it is a number.
    if declared is not None and int(declared) > max_bytes:
        raise _too_large(max_bytes)


async def _whole(request: Request, settings: GatewaySettings) -> bytes:
    max_bytes, body = settings.max_body_bytes, bytearray()
    # Most bodies arrive together with their heads.
    rest = run_until_blocked(_read(request, body, max_bytes))
    if rest is not None:
        try:
            async with asyncio.timeout(settings.body_timeout_s):
                await rest
        except TimeoutError:
            raise ProblemError(408, "body_timeout", "the body took too long to arrive", headers=CLOSE) from None
    return bytes(body)


def check_encoding(headers: Mapping[bytes, bytes]) -> None:
    """ProblemError 415."""
    if headers.get(b"content-encoding", b"identity").lower() != b"identity":
        raise ProblemError(415, "encoding_unsupported", "send the body without Content-Encoding")


async def _read(request: Request, body: bytearray, max_bytes: int) -> None:
    async for chunk in request.stream():
        body += chunk
        if len(body) > max_bytes:
            raise _too_large(max_bytes)


def decode(body: bytes, decoder: "msgspec.json.Decoder[T]") -> T:
    # Some editors put a byte order mark in front of UTF-8. RFC 8259 lets a parser ignore it.
    body = body.removeprefix(BOM_UTF8)
    if not body.strip():
        raise ProblemError(400, "malformed_body", "the body is empty")
    try:
        try:
            return decoder.decode(body)
        except msgspec.ValidationError:
            _check_syntax(body)
            return _decode_as_meant(body, decoder)
    except msgspec.ValidationError as error:
        item = item_of(str(error), decoder.type)
        raise ProblemError(422, "invalid_body", "the body does not fit the schema", errors=[item]) from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise ProblemError(400, "malformed_json", "the body is not valid JSON in UTF-8") from None
    except RecursionError:
        raise ProblemError(400, "malformed_json", "the body is nested too deeply") from None


def _decode_as_meant(body: bytes, decoder: "msgspec.json.Decoder[T]") -> T:
    try:
        value = msgspec.json.decode(body)
    except msgspec.ValidationError:  # a number that does not fit into a double
        return decoder.decode(body)
    return decoder.decode(encode_json(as_meant(value, decoder.type)))


def _check_syntax(body: bytes) -> None:
    """ProblemError 400 if the body is not JSON. The decoder stops at the first value that does not
    fit the schema, and so may not have reached the part that is not JSON."""
    try:
        _syntax.decode(body)
    except RecursionError:
        raise ProblemError(400, "malformed_json", "the body is nested too deeply") from None
    except msgspec.DecodeError:
        raise ProblemError(400, "malformed_json", "the body is not valid JSON in UTF-8") from None


def read_query(request: Request, query: type[T]) -> T:
    """Query parameters as a Struct. If a parameter is given more than once, a tuple takes all its
    values, and any other field the last. ProblemError 422 names the parameter."""
    known, repeated = _names_of(query)  # type: ignore[arg-type]
    values: dict[str, Any] = {}
    for name in request.query_params:
        if name not in known:
            item = ProblemItem(pointer=shown(name), code="unknown_parameter", detail="no such parameter")
            raise ProblemError(422, "invalid_parameter", "a query parameter is not known", errors=[item])
        given = request.query_params.getlist(name)
        values[name] = given if name in repeated else given[-1]
    try:
        return msgspec.convert(values, query, strict=False)
    except msgspec.ValidationError as error:
        item = item_of(str(error), query)
        item = msgspec.structs.replace(item, pointer=item.pointer.lstrip("/"))
        raise ProblemError(422, "invalid_parameter", "a query parameter is not valid", errors=[item]) from None


@cache
def _names_of(query: Any) -> tuple[frozenset[str], frozenset[str]]:
    """-> the names of all parameters, and of those that may be given more than once."""
    struct = type_of(query)
    assert isinstance(struct, StructType)  # noqa: S101 - narrows for the type checker
    fields = {field.encode_name: list(alternatives(field.type)) for field in struct.fields}
    repeated = [name for name, types in fields.items() if any(isinstance(one, CollectionType) for one in types)]
    return frozenset(fields), frozenset(repeated)


def _too_large(max_bytes: int) -> ProblemError:
    return ProblemError(413, "body_too_large", f"a body may have at most {max_bytes} bytes", headers=CLOSE)
