"""What comes before FastAPI. Pure ASGI.

The hot routes, submissions and event streams: FastAPI's routes of the same paths stay for the OpenAPI document. Its
layers cost more time than all that a submission does, and memory for as long as a stream is open.

And what holds for every path: HEAD is answered as GET is, without the body; OPTIONS says which methods there are; a
slash at the end makes no difference, and is no reason to send anybody elsewhere.
"""

from collections.abc import Iterable

from fastapi import FastAPI, Request, Response
from fastapi.routing import APIRoute
from shared_schemas.errors import HeadraceError
from starlette.routing import Match
from starlette.types import Receive, Scope, Send

from gateway.edge.extensions import HEAD_ONLY
from gateway.edge.problems import ProblemError, of_headrace_error, response_of
from gateway.routes.methods import Methods


class Front:
    """Calls the endpoint of a route with the request alone; what no route of these takes goes to the application."""

    def __init__(self, app: FastAPI, routes: Iterable[APIRoute], methods: Methods) -> None:
        self._app, self._methods = app, methods
        self._exact: dict[tuple[str, str], APIRoute] = {}
        self._others: list[APIRoute] = []
        for route in routes:
            if "{" in route.path:
                self._others.append(route)
            else:
                self._exact |= {(method, route.path): route for method in route.methods or ()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if scope["method"] == "HEAD" or (scope["path"][-1:] == "/" and scope["path"] != "/"):
            # A copy: by the method in its own, the server knows that no body may follow.
            meant = _as_meant(scope)
            try:
                await self(meant, receive, send)
            finally:
                scope["route"] = meant.get("route")
            return
        route = self._route(scope)
        if route is None:
            await (self._unserved(scope) or self._app)(scope, receive, send)
            return
        scope["app"], scope["route"] = self._app, route
        request = Request(scope, receive, send)
        try:
            response = await route.endpoint(request)
        except ProblemError as error:
            response = response_of(error, request)
        except HeadraceError as error:
            response = response_of(of_headrace_error(error), request)
        await response(scope, receive, send)

    def _unserved(self, scope: Scope) -> Response | None:
        """The answer where a path has no such method."""
        allowed = self._methods.of(scope["path"].removeprefix(scope.get("root_path", "")))
        if not allowed or (scope["method"] in allowed and scope["method"] != "OPTIONS"):
            return None
        headers = {"Allow": ", ".join(allowed)}
        if scope["method"] == "OPTIONS":
            return Response(status_code=204, headers=headers)
        problem = ProblemError(405, "method_not_allowed", "this route has no such method", headers=headers)
        return response_of(problem, Request(scope))

    def _route(self, scope: Scope) -> APIRoute | None:
        found = self._exact.get((scope["method"], scope["path"]))
        if found is not None:
            return found
        for route in self._others:
            match, inner = route.matches(scope)
            if match is Match.FULL:
                scope["path_params"] = inner["path_params"]
                return route
        return None


def _as_meant(scope: Scope) -> Scope:
    path = scope["path"]
    meant = {**scope, "path": path.rstrip("/") or "/" if path.endswith("/") else path}
    if scope["method"] == "HEAD":
        meant |= {"method": "GET", HEAD_ONLY: True}
    return meant
