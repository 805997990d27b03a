"""Errors as this protocol has them: `{"error": "text"}`, whatever went wrong. Knows no route.

Stock clients show the text alone. So it names the places that a problem has in `errors`, in the terms of the request.
"""

from shared_schemas.codec import encode_json

from gateway.edge.problems import ErrorBody, ProblemError
from gateway.surfaces.v2.schemas import OipError

_JSON = "application/json"
_INPUT_DATA = "/input_data"
# How the protocol says that a request is wrong.
_BAD_REQUEST = 400


def error_of(problem: ProblemError, _request_id: str) -> ErrorBody:
    """As gateway.edge.problems.ErrorForm."""
    status = _BAD_REQUEST if problem.status == 422 else problem.status
    return ErrorBody(status, encode_json(OipError(_text(problem))), _JSON)


def _text(problem: ProblemError) -> str:
    parts = [problem.detail]
    for item in problem.errors:
        place = item.pointer.removeprefix(_INPUT_DATA)
        parts.append(f"at {place}" if item.detail == problem.detail else f"{place or '/'}: {item.detail}")
    return parts[0] if parts[1:] in ([], ["at "]) else "; ".join(parts)
