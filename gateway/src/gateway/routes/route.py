"""A route: one row of `gateway.routes.table`, and the Call that its handler gets.

Knows neither how a row is found nor how it is described.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Generic, TypeVar

import msgspec
from fastapi import Request, Response

from gateway.services import Services

Q = TypeVar("Q", covariant=True)
B = TypeVar("B", covariant=True)


class Call(msgspec.Struct, Generic[Q, B], frozen=True):
    """One request, decoded. headers: the first value of each, by its name in lower case. path: the
    parameters in the path. query, body: the Structs of the row; None if the row has none."""

    services: Services
    request: Request
    headers: Mapping[bytes, bytes]
    path: dict[str, str]
    query: Q
    body: B


PlainCall = Call[None, None]
Handler = Callable[[Call[Any, Any]], Awaitable[Response]]


class Answer(msgspec.Struct, frozen=True):
    """What a status means, and its body. kind: None if there is no body. for_list: the body if a
    list was sent. is_stream: the same events also come as server-sent events or NDJSON. is_list: the
    body is a list of them. is_file: the body is the bytes of a file. is_lines: it is JSON lines,
    each of that kind."""

    description: str
    kind: type[msgspec.Struct] | None = None
    for_list: type[msgspec.Struct] | None = None
    is_stream: bool = False
    is_list: bool = False
    is_file: bool = False
    is_lines: bool = False


class Header(msgspec.Struct, frozen=True):
    """A request header that the handler reads."""

    name: str
    description: str
    pattern: str | None = None


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """handler: its name and docstring become those of the route, unless a name or description is
    given here. query, body: Structs that the request is decoded as. reads_body: the handler reads
    the body itself, and `body` only describes it. is_body_optional: there may be none. takes_file:
    the handler reads the body itself, as the bytes of a file. max_list: how many bodies may
    be sent as a list, which the handler gets as a tuple; 0 allows one body only. cursor_header: a
    header that wins over the query parameter `after`. answers, problems: by status. error: the body
    of problems in another form. tag: None keeps
    the route out of the OpenAPI document."""

    method: str
    path: str
    handler: Handler
    tag: str | None
    name: str = ""
    description: str = ""
    query: type[msgspec.Struct] | None = None
    body: type[msgspec.Struct] | None = None
    reads_body: bool = False
    is_body_optional: bool = False
    takes_file: bool = False
    max_list: int = 0
    example: dict[str, Any] | None = None
    headers: tuple[Header, ...] = ()
    cursor_header: Header | None = None
    answers: dict[int, Answer] = {}
    problems: tuple[int, ...] = ()
    error: type[msgspec.Struct] | None = None
