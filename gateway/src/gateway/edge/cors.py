"""CORS: which other origins may call. A refusal is a problem document. Knows no route."""

import os

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response

from gateway.edge.problems import ProblemError, response_with_id


class Cors(CORSMiddleware):
    def preflight_response(self, request_headers: Headers) -> Response:
        response = super().preflight_response(request_headers)
        if response.status_code < 400:
            return response
        # Starlette's text is "Disallowed CORS origin, method": it names what was refused, without
        # the values.
        refused = bytes(response.body).decode().removeprefix("Disallowed CORS ")
        detail = f"HEADRACE_CORS_ORIGINS does not allow this request from a page of another origin ({refused})"
        kept = {name: value for name, value in response.headers.items() if not name.startswith("content-")}
        problem = ProblemError(response.status_code, "cors_refused", detail, headers=kept)
        return response_with_id(problem, os.urandom(8).hex())
