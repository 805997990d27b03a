"""Surrounds every request: checks its Host, gives it an id, reports it to the observer, and turns
an error into a problem.

Pure ASGI, so that event streams pass unbuffered. Knows no route, but the beginnings of paths whose errors have another
form.
"""

import os
import re
import time
from collections.abc import Mapping

from fastapi import Request
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.edge.hosts import Hosts
from gateway.edge.problems import ErrorForm, as_problem, internal, problem_of, response_of
from gateway.instrument import GatewayObserver

_VALID_ID = re.compile(rb"[A-Za-z0-9_-]{8,64}")


class RequestContext:
    """error_forms: by the first part of a path, such as `v2`. Other errors are problems."""

    def __init__(
        self, app: ASGIApp, hosts: Hosts, observer: GatewayObserver, error_forms: Mapping[str, ErrorForm] = {}
    ) -> None:
        self._app, self._hosts, self._observer, self._error_forms = app, hosts, observer, error_forms

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        client_id, host, n_hosts = b"", None, 0
        for name, value in scope["headers"]:
            if name == b"host":
                host, n_hosts = value, n_hosts + 1
            elif name == b"x-request-id":
                client_id = value
        request_id = client_id if _VALID_ID.fullmatch(client_id) else os.urandom(8).hex().encode()
        scope.setdefault("state", {})["request_id"] = request_id.decode()
        began, status, answered_s = time.perf_counter(), 0, 0.0

        async def send_with_id(message: Message) -> None:
            nonlocal status, answered_s
            if message["type"] == "http.response.start":
                status, answered_s = message["status"], time.perf_counter() - began
                message["headers"] = [*message["headers"], (b"x-request-id", request_id)]
            await send(message)

        try:
            # HTTP/1.0 has no Host.
            is_judged = n_hosts > 0 or scope["http_version"] != "1.0"
            refusal = self._hosts.refusal_of(host if n_hosts == 1 else None) if is_judged else None
            if refusal is None:
                await self._app(scope, receive, send_with_id)
            else:
                await response_of(refusal, Request(scope), self._form(scope))(scope, receive, send_with_id)
        except ClientDisconnect:
            # It disconnected while it sent the body, so nobody is left to answer.
            self._observer.client_left(request_id.decode(), scope["method"])
        except Exception as error:
            problem = None if status else problem_of(error)
            if problem is None:
                self._observer.request_failed(request_id.decode(), scope["method"])
            if status == 0:
                response = response_of(problem or internal(), Request(scope), self._form(scope))
                await response(scope, receive, send_with_id)
        finally:
            # The template, not the path: a path holds text of the caller.
            route = getattr(scope.get("route"), "path", None)
            took_s = time.perf_counter() - began
            self._observer.request_served(request_id.decode(), scope["method"], route, status, answered_s, took_s)

    def _form(self, scope: Scope) -> ErrorForm:
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        return self._error_forms.get(path.lstrip("/").partition("/")[0], as_problem)
