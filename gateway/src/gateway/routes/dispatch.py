"""The one way from a request to its route: found, decoded, handled. Pure ASGI.

FastAPI describes the same routes and is not called for them: its layers cost more time than all
that a submission does, and memory for as long as a stream is open.

Some things hold for every path. HEAD is answered as GET is, without the body. OPTIONS says which
methods there are. A slash at the end makes no difference and redirects nobody.

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
    """Raises what a request fails with: `RequestContext` makes the problem of it."""

    def __init__(self, app: FastAPI, services: Services, routes: Sequence[Route]) -> None:
        """app: has the lifespan, and the description of the routes."""
        self._app, self._services, self._paths = app, services, Paths(routes)
        self._decoders = {id(route): decoder_of(route) for route in routes if route.body is not None}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if scope["method"] == "HEAD" or (scope["path"][-1:] == "/" and scope["path"] != "/"):
            # A copy: the server reads the method of its own scope, and sends no body for HEAD.
            meant = _as_meant(scope)
            try:
                await self(meant, receive, send)
            finally:
                scope["route"] = meant.get("route")
            return
        path = scope["path"]
        if root_path := scope.get("root_path"):
            path = path.removeprefix(root_path)
        match = self._paths.find(path)
        route = None if match is None else match.routes.get(scope["method"])
        if match is None or route is None:
            response = self._unserved(path, scope["method"], match)
        else:
            scope["app"], scope["route"] = self._app, route
            response = await self.answer(route, Request(scope, receive, send), match.parameters)
        await response(scope, receive, send)

    async def answer(self, route: Route, request: Request, parameters: dict[str, str]) -> Response:
        """Decode, then handle. ProblemError, HeadraceError."""
        query = None if route.query is None else read_query(request, route.query)
        body = None
        if route.body is not None:
            body = await read_json(request, self._decoders[id(route)], self._services.settings)
        return await route.handler(Call(self._services, request, parameters, query, body))

    def endpoint(self, route: Route) -> Callable[[Request], Awaitable[Response]]:
        """The route as FastAPI knows it."""

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


def decoder_of(route: Route) -> "msgspec.json.Decoder[Any]":
    one: Any = route.body
    if not route.most:
        return msgspec.json.Decoder(one)
    many: Any = Annotated[tuple[one, ...], Meta(min_length=1, max_length=route.most)]
    return msgspec.json.Decoder(one | many)


def _as_meant(scope: Scope) -> Scope:
    path = scope["path"]
    meant = {**scope, "path": path.rstrip("/") or "/" if path.endswith("/") else path}
    if scope["method"] == "HEAD":
        meant |= {"method": "GET", HEAD_ONLY: True}
    return meant
