"""The hot routes, ahead of FastAPI: submissions and event streams. Pure ASGI.

FastAPI's routes of the same paths stay for the OpenAPI document. Its layers cost more time than all that a submission
does, and memory for as long as a stream is open.
"""

from collections.abc import Iterable

from fastapi import FastAPI, Request
from fastapi.routing import APIRoute
from shared_schemas.errors import HeadraceError
from starlette.routing import Match
from starlette.types import Receive, Scope, Send

from gateway.problems import ProblemError, of_headrace_error, response_of


class Front:
    """Calls the endpoint of a route with the request alone; what no route of these takes goes to the application."""

    def __init__(self, app: FastAPI, routes: Iterable[APIRoute]) -> None:
        self._app = app
        self._exact: dict[tuple[str, str], APIRoute] = {}
        self._others: list[APIRoute] = []
        for route in routes:
            if "{" in route.path:
                self._others.append(route)
            else:
                self._exact |= {(method, route.path): route for method in route.methods or ()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        route = self._route(scope) if scope["type"] == "http" else None
        if route is None:
            await self._app(scope, receive, send)
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
