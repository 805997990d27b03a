"""What a route is: one row of the table in `gateway.routes.table`, and what its handler is called with.

Knows neither how a row is found nor how it is described.
"""

from collections.abc import Awaitable, Callable
from typing import Any, Generic, TypeVar

import msgspec
from fastapi import Request, Response

from gateway.services import Services

Q = TypeVar("Q", covariant=True)
B = TypeVar("B", covariant=True)


class Call(Generic[Q, B]):
    """One request, decoded. path: the parameters in the path. query, body: as the Structs of the row,
    None where the row has none."""

    __slots__ = ("body", "path", "query", "request", "services")

    def __init__(self, services: Services, request: Request, path: dict[str, str], query: Q, body: B) -> None:
        self.services, self.request, self.path, self.query, self.body = services, request, path, query, body


PlainCall = Call[None, None]
Handler = Callable[[Call[Any, Any]], Awaitable[Response]]


class Answer(msgspec.Struct, frozen=True):
    """What a status means, and its body. kind: None where there is no body. or_else: what a list of
    bodies is answered with. is_stream: the same events also come as server-sent events or NDJSON."""

    description: str
    kind: type[msgspec.Struct] | None = None
    or_else: type[msgspec.Struct] | None = None
    is_stream: bool = False


class Header(msgspec.Struct, frozen=True):
    """A request header that the handler reads."""

    name: str
    description: str
    pattern: str | None = None


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """handler: its name and docstring are those of the route, but for a name or description given
    here. query, body: Structs that the request is decoded as. most: how many bodies may come as a
    list, which is then handled as a tuple; 0: one body only. cursor_header: a header that wins over
    the query parameter `after`. answers, problems: by status. tag: None keeps the route out of the
    OpenAPI document."""

    method: str
    path: str
    handler: Handler
    tag: str | None
    name: str = ""
    description: str = ""
    query: type[msgspec.Struct] | None = None
    body: type[msgspec.Struct] | None = None
    most: int = 0
    example: dict[str, Any] | None = None
    headers: tuple[Header, ...] = ()
    cursor_header: Header | None = None
    answers: dict[int, Answer] = {}
    problems: tuple[int, ...] = ()
