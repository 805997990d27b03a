"""A file of the artifact store as a response: whole, or one range of its bytes. Knows no model."""

import re
from pathlib import Path

import anyio
from shared_schemas.artifacts import ArtifactRef
from starlette.datastructures import Headers
from starlette.responses import FileResponse, Response
from starlette.types import Message, Receive, Scope, Send

from gateway.edge.extensions import HEAD_ONLY, TAKE_OVER, TakeOver
from gateway.edge.problems import ProblemError

_RANGE = re.compile(r"bytes=(?P<first>[0-9]{0,18})-(?P<last>[0-9]{0,18})")


def download(scope: Scope, path: Path, ref: ArtifactRef, *, filename: str, send_timeout_s: float) -> Response:
    """Contents never change under a sha256, so it is the ETag. ProblemError 416."""
    headers = Headers(scope=scope)
    fixed = {"ETag": f'"{ref.sha256}"', "Cache-Control": "no-cache"}
    if fixed["ETag"] in [tag.strip() for tag in headers.get("if-none-match", "").split(",")]:
        return Response(status_code=304, headers=fixed)
    _check_range(headers.get("range", ""), ref.n_bytes)
    return _Download(path, fixed, filename=filename, send_timeout_s=send_timeout_s)


class _Download(FileResponse):
    """Aborts the connection of a reader that takes nothing for send_timeout_s."""

    def __init__(self, path: Path, headers: dict[str, str], *, filename: str, send_timeout_s: float) -> None:
        super().__init__(path, headers=headers, filename=filename, media_type="application/octet-stream")
        self._send_timeout_s = send_timeout_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_in_time(message: Message) -> None:
            with anyio.fail_after(self._send_timeout_s):
                await send(message)

        is_head = HEAD_ONLY in scope
        # Ranges that are malformed, or several, are ignored, as RFC 9110 lets a server do.
        left = [(name, value) for name, value in scope["headers"] if name != b"range" or _is_one_range(value)]
        scope = {**scope, "method": "HEAD" if is_head else scope["method"], "headers": left}
        try:
            await super().__call__(scope, receive, send_in_time)
        except TimeoutError:
            take_over: TakeOver | None = scope.get("extensions", {}).get(TAKE_OVER)
            writer = None if take_over is None else take_over()
            if writer is not None:
                writer.abort()


def _is_one_range(value: bytes) -> bool:
    match = _RANGE.fullmatch(value.decode("latin-1"))
    if match is None or (not match["first"] and not match["last"]):
        return False
    return not (match["first"] and match["last"]) or int(match["first"]) <= int(match["last"])


def _check_range(value: str, n_bytes: int) -> None:
    """ProblemError 416 for one range that begins behind the end."""
    if not _is_one_range(value.encode("latin-1")):
        return
    first, _, last = value.removeprefix("bytes=").partition("-")
    if (first and int(first) >= n_bytes) or (not first and int(last) == 0):
        raise ProblemError(
            416,
            "range_not_satisfiable",
            "the file ends before that range",
            headers={"Content-Range": f"bytes */{n_bytes}"},
        )
