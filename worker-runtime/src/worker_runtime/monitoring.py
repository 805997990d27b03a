"""Serves GET /metrics and GET /healthz of a worker, on a thread of its own.

So a probe gets an answer even if a handler blocks the event loop, and the answer says so. Knows no
job.
"""

import asyncio
import errno
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from prometheus_client import make_wsgi_app
from shared_schemas.service.settings import SettingsRejected

# An event loop that is blocked for longer, in seconds, counts as dead: it records no progress and
# follows no request to cancel.
PATIENCE_S = 3.0


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing: a line for each probe would be of no use."""


def listen(port: int) -> WSGIServer | None:
    """port: 0 for none. SettingsRejected if it is taken."""
    if port == 0:
        return None
    try:
        return _Server(("", port), _Quiet)
    except OSError as error:
        raise SettingsRejected(f"HEADRACE_METRICS_PORT: {errno.errorcode.get(error.errno or 0, 'unknown')}") from None


@contextmanager
def monitored(server: WSGIServer | None, loop: asyncio.AbstractEventLoop) -> Iterator[None]:
    """Serve while the block runs; the server is closed after it."""
    if server is None:
        yield
        return
    server.set_app(_application(lambda: _responds(loop)))
    with server:
        thread = threading.Thread(target=server.serve_forever, name="monitoring", daemon=True)
        thread.start()
        try:
            yield
        finally:
            server.shutdown()


def _application(is_alive: Callable[[], bool]) -> Callable[[WSGIEnvironment, StartResponse], Iterable[bytes]]:
    metrics: WSGIApplication = make_wsgi_app()

    def answer(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        match environ["PATH_INFO"]:
            case "/metrics":
                return metrics(environ, start_response)
            case "/healthz":
                is_well = is_alive()
                status = "200 OK" if is_well else "503 Service Unavailable"
                start_response(status, [("Content-Type", "application/json")])
                return [b'{"status":"ok"}' if is_well else b'{"status":"unavailable"}']
        start_response("404 Not Found", [("Content-Type", "text/plain")])
        return [b"/metrics and /healthz\n"]

    return answer


def _responds(loop: asyncio.AbstractEventLoop) -> bool:
    """Whether the event loop runs a callback within PATIENCE_S."""
    called = threading.Event()
    try:
        loop.call_soon_threadsafe(called.set)
    except RuntimeError:  # the loop is closed
        return False
    return called.wait(PATIENCE_S)
