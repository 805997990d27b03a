"""A TCP proxy on loopback that cuts lines: after so many bytes of the answer, or all at once when told."""

import socket
import struct
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

_CHUNK = 4096


class CuttingProxy:
    """cuts: for each line in turn, after how many bytes from the server it is cut; None or past the end: never.
    lines: how many were opened so far."""

    def __init__(self, target: tuple[str, int], *, cuts: Sequence[int | None] = ()) -> None:
        self._target, self._cuts = target, list(cuts)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._refusing = False
        self.lines = 0
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def cut_all(self) -> None:
        with self._lock:
            lines = list(self._open)
        for line in lines:
            _reset(line)

    def refuse(self, refusing: bool) -> None:
        """While refusing, new lines are reset as soon as they are opened."""
        self._refusing = refusing

    def close(self) -> None:
        self._listener.close()
        self.cut_all()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                number = self.lines
                self.lines += 1
            limit = self._cuts[number] if number < len(self._cuts) else None
            if self._refusing:
                _reset(near)
                continue
            threading.Thread(target=self._serve, args=(near, limit), daemon=True).start()

    def _serve(self, near: socket.socket, limit: int | None) -> None:
        try:
            far = socket.create_connection(self._target)
        except OSError:
            _reset(near)
            return
        with self._lock:
            self._open |= {near, far}
        threading.Thread(target=self._pump, args=(near, far, None), daemon=True).start()
        self._pump(far, near, limit)

    def _pump(self, source: socket.socket, sink: socket.socket, limit: int | None) -> None:
        left = limit
        try:
            while chunk := source.recv(_CHUNK):
                if left is not None:
                    chunk, left = chunk[:left], left - len(chunk)
                sink.sendall(chunk)
                if left is not None and left <= 0:
                    break
        except OSError:
            pass
        with self._lock:
            self._open -= {source, sink}
        for line in (source, sink):
            with suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)
            line.close()


@contextmanager
def cutting_proxy(target: tuple[str, int], *, cuts: Sequence[int | None] = ()) -> Iterator[CuttingProxy]:
    proxy = CuttingProxy(target, cuts=cuts)
    try:
        yield proxy
    finally:
        proxy.close()


def _reset(line: socket.socket) -> None:
    """Close with RST, as a peer that has died does."""
    with suppress(OSError):
        line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        line.shutdown(socket.SHUT_RDWR)
    line.close()
