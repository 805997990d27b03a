"""Request body and query -> Struct. Order: size, media type, parse, meaning."""

import re
from typing import Any, TypeVar

import anyio
import msgspec
from fastapi import Request
from shared_schemas.replies import ProblemItem

from gateway.problems import ProblemError
from gateway.settings import GatewaySettings

T = TypeVar("T")

# What is left of the body would be read as the next request.
_CLOSE = {"Connection": "close"}
_AT = re.compile(r" - at `(?P<path>[^`]*)`$")
_STEP = re.compile(r"\.([^.\[]+)|\[(\d+|\.\.\.)\]")
_SAFE_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_UNKNOWN = re.compile(r"Object contains unknown field `(?P<name>.*?)`", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(?P<name>\w+)`")
_MEDIA = re.compile(r'application/json\s*(;\s*charset="?utf-8"?\s*)?', re.IGNORECASE)


async def read_json(request: Request, decoder: "msgspec.json.Decoder[T]", settings: GatewaySettings) -> T:
    """The body as the decoder's Struct. ProblemError 400, 408, 413, 415 or 422."""
    max_bytes = settings.max_body_bytes
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > max_bytes:
        raise _too_large(max_bytes)
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise ProblemError(415, "encoding_unsupported", "send the body without Content-Encoding")
    if _MEDIA.fullmatch(request.headers.get("content-type", "")) is None:
        raise ProblemError(415, "media_type_unsupported", "send the body as application/json in UTF-8")
    body = bytearray()
    with anyio.move_on_after(settings.body_timeout_s) as limit:
        async for chunk in request.stream():
            body += chunk
            if len(body) > max_bytes:
                raise _too_large(max_bytes)
    if limit.cancelled_caught:
        raise ProblemError(408, "body_timeout", "the body took too long to arrive", headers=_CLOSE)
    return decode(bytes(body), decoder)


def decode(body: bytes, decoder: "msgspec.json.Decoder[T]") -> T:
    if not body.strip():
        raise ProblemError(400, "malformed_body", "the body is empty")
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        item = item_of(str(error))
        raise ProblemError(422, "invalid_body", "the body does not fit the schema", errors=[item]) from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise ProblemError(400, "malformed_json", "the body is not valid JSON in UTF-8") from None
    except RecursionError:
        raise ProblemError(400, "malformed_json", "the body is nested too deeply") from None


def read_query(request: Request, query: type[T], *, repeated: frozenset[str] = frozenset()) -> T:
    """Query parameters as a Struct. ProblemError 422 names the parameter."""
    known = {field.name for field in msgspec.structs.fields(query)}  # type: ignore[arg-type]
    values: dict[str, Any] = {}
    for name in request.query_params:
        if name not in known:
            item = ProblemItem(pointer=_shown(name), code="unknown_parameter", detail="no such parameter")
            raise ProblemError(422, "invalid_parameter", "a query parameter is not known", errors=[item])
        given = request.query_params.getlist(name)
        values[name] = given if name in repeated else given[-1]
    try:
        return msgspec.convert(values, query, strict=False)
    except msgspec.ValidationError as error:
        item = item_of(str(error))
        item = msgspec.structs.replace(item, pointer=item.pointer.lstrip("/"))
        raise ProblemError(422, "invalid_parameter", "a query parameter is not valid", errors=[item]) from None


def item_of(message: str) -> ProblemItem:
    """A msgspec message without the value it complains about."""
    match = _AT.search(message)
    pointer = _pointer(match["path"]) if match else ""
    text = message[: match.start()] if match else message
    unknown, missing = _UNKNOWN.match(text), _MISSING.match(text)
    if unknown:
        return ProblemItem(pointer=f"{pointer}/{_shown(unknown['name'])}", code="unknown_field", detail="no such field")
    if missing:
        return ProblemItem(
            pointer=f"{pointer}/{missing['name']}", code="missing_field", detail="this field is required"
        )
    if text.startswith("Invalid"):
        return ProblemItem(pointer=pointer, code="invalid_value", detail="not one of the allowed values")
    detail = text[0].lower() + text[1:]
    is_bound = any(word in text for word in (">", "<", "length", "regex", "matching", "multiple", "range"))
    return ProblemItem(pointer=pointer, code="out_of_range" if is_bound else "wrong_type", detail=detail)


def _pointer(path: str) -> str:
    steps = (match[1] or match[2] for match in _STEP.finditer(path.removeprefix("$")))
    return "".join(f"/{_shown(step)}" for step in steps)


def _shown(name: str) -> str:
    return name if _SAFE_NAME.fullmatch(name) else "?"


def _too_large(max_bytes: int) -> ProblemError:
    return ProblemError(413, "body_too_large", f"a body may have {max_bytes} bytes", headers=_CLOSE)
