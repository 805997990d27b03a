"""Ends a blocking client's line when its caller's time is up. Knows no event."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import httpx


@contextmanager
def cut_after(response: httpx.Response, remaining_s: float | None) -> Iterator[None]:
    """End the line when the caller's time is up: httpx can only limit the silence between two chunks."""
    stream = response.extensions.get("network_stream")
    line = stream.get_extra_info("socket") if stream is not None else None
    if remaining_s is None or not isinstance(line, socket.socket):
        yield
        return
    timer = threading.Timer(max(0.0, remaining_s), _shut, (line,))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _shut(line: socket.socket) -> None:
    try:
        line.shutdown(socket.SHUT_RDWR)
    except OSError:
        return
