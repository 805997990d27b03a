"""Finds the route of a request, decodes the query and the body, and calls the handler. Pure ASGI.
Knows no job.

FastAPI describes the same routes and is not called for requests: its layers cost a submission more
time than all of its work, and a stream memory for as long as it is open.

Some rules hold for every path. HEAD gets the response of GET without the body. OPTIONS lists the
methods of the path. A slash at the end makes no difference, and nobody is redirected.

What must hold for every call, such as authentication and limits, belongs in `Dispatcher.answer`.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, Any

import msgspec
from fastapi import FastAPI, Request, Response
from msgspec import Meta
from starlette.types import Receive, Scope, Send

from gateway.edge.extensions import HEAD_ONLY
from gateway.edge.problems import ProblemError
from gateway.intake.body import read_json, read_query
from gateway.routes.paths import Match, Paths
from gateway.routes.route import Call, Route
from gateway.services import Services


class Dispatcher:
    """Raises the error of a failed request. `RequestContext` turns it into a problem."""

    def __init__(self, app: FastAPI, services: Services, routes: Sequence[Route]) -> None:
        """app: the FastAPI application, which has the lifespan and the description of the
        routes."""
        self._app, self._services, self._paths = app, services, Paths(routes)
        self._decoders = {id(route): decoder_of(route) for route in routes if _is_decoded(route)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if scope["method"] == "HEAD" or (scope["path"][-1:] == "/" and scope["path"] != "/"):
            # A copy, because the server reads HEAD from its own scope, and then sends no body.
            normalized = _normalized(scope)
            try:
                await self(normalized, receive, send)
            finally:
                scope["route"] = normalized.get("route")
            return
        path = scope["path"]
        if root_path := scope.get("root_path"):
            path = path.removeprefix(root_path)
        match = self._paths[path]
        route = None if match is None else match.routes.get(scope["method"])
        if match is None or route is None:
            response = self._unserved(path, scope["method"], match)
        else:
            scope["app"], scope["route"] = self._app, route
            response = await self.answer(route, Request(scope, receive, send), match.parameters)
        await response(scope, receive, send)

    async def answer(self, route: Route, request: Request, parameters: dict[str, str]) -> Response:
        """Decode the request, then call the handler. ProblemError, HeadraceError."""
        query = None if route.query is None else read_query(request, route.query)
        # Faster than request.headers, which searches the whole list for each name.
        headers = dict(reversed(request.scope["headers"]))
        body = None
        if _is_decoded(route):
            body = await read_json(request, headers, self._decoders[id(route)], self._services.settings)
        return await route.handler(Call(self._services, request, headers, parameters, query, body))

    def endpoint(self, route: Route) -> Callable[[Request], Awaitable[Response]]:
        """What FastAPI is given as the endpoint of the route."""

        async def endpoint(request: Request) -> Response:
            return await self.answer(route, request, request.path_params)

        return endpoint

    def _unserved(self, path: str, method: str, match: Match | None) -> Response:
        allowed = self._paths.methods if path == "*" else [] if match is None else match.allowed
        if not allowed:
            raise ProblemError(404, "route_not_found", "no such route")
        headers = {"Allow": ", ".join(allowed)}
        if method == "OPTIONS":
            return Response(status_code=204, headers=headers)
        raise ProblemError(405, "method_not_allowed", "this route has no such method", headers=headers)


def _is_decoded(route: Route) -> bool:
    return route.body is not None and not route.reads_body


def decoder_of(route: Route) -> "msgspec.json.Decoder[Any]":
    one: Any = route.body
    if not route.max_list:
        return msgspec.json.Decoder(one)
    many: Any = Annotated[tuple[one, ...], Meta(min_length=1, max_length=route.max_list)]
    return msgspec.json.Decoder(one | many)


def _normalized(scope: Scope) -> Scope:
    """A copy of the scope without a slash at the end of the path, and with GET in place of HEAD."""
    path = scope["path"]
    normalized = {**scope, "path": path.rstrip("/") or "/" if path.endswith("/") else path}
    if scope["method"] == "HEAD":
        normalized |= {"method": "GET", HEAD_ONLY: True}
    return normalized
