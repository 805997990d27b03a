"""Which pages of other origins may call, and a refusal that is a problem like any other. Knows no route."""

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response

from gateway.edge.problems import ProblemError, written_as
from gateway.random_pool import random_bytes


class Cors(CORSMiddleware):
    def preflight_response(self, request_headers: Headers) -> Response:
        response = super().preflight_response(request_headers)
        if response.status_code < 400:
            return response
        # "Disallowed CORS origin, method": what, and none of the values.
        refused = bytes(response.body).decode().removeprefix("Disallowed CORS ")
        detail = f"a page of another origin may not call so ({refused}); HEADRACE_CORS_ORIGINS lists those that may"
        kept = {name: value for name, value in response.headers.items() if not name.startswith("content-")}
        problem = ProblemError(response.status_code, "cors_refused", detail, headers=kept)
        return written_as(problem, random_bytes(8).hex())
