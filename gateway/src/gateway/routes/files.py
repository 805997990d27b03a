"""The files of the artifact store: uploads, by the sha256 of the file. Knows no job and no model."""

import re

from fastapi import Response
from shared_schemas.errors import NotFound
from shared_schemas.replies import ProblemItem

from gateway.edge.problems import ProblemError
from gateway.routes.route import PlainCall
from gateway.surfaces.native import responses

_SHA256 = re.compile(r"[0-9a-f]{64}")


class FileNotFound(NotFound):
    code = "file_not_found"


async def put_file(call: PlainCall) -> Response:
    """Upload a file, or with `Content-Range: bytes FIRST-LAST/TOTAL` a part of it. The parts come in order.
    After a lost connection, `GET` says how many bytes are there, and the upload goes on with the next one. 201 if
    the file is complete, 202 if parts are missing."""
    stored = await call.services.files.receive(call.request, call.headers, _sha256_of(call))
    return responses.json_response(stored, 201 if stored.is_complete else 202)


async def get_file(call: PlainCall) -> Response:
    """How much of a file is there."""
    stored = await call.services.files.received(_sha256_of(call))
    if stored is None:
        raise FileNotFound("the store has nothing of this file")
    return responses.json_response(stored)


def _sha256_of(call: PlainCall) -> str:
    sha256 = call.path["sha256"]
    if _SHA256.fullmatch(sha256) is None:
        item = ProblemItem(pointer="sha256", code="invalid_format", detail="64 digits of lower-case hex")
        raise ProblemError(422, "invalid_parameter", "a file is named by its sha256", errors=[item])
    return sha256
