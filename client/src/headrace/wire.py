"""The blocking client's connections: HTTP/1.1 of the standard library, kept open and shared between threads.

http.client starts in a third of the time that a library for it takes, which is most of what a short command costs.
Knows neither jobs nor what may be sent again.
"""

import os
import select
import socket
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import TYPE_CHECKING

import msgspec

from headrace.addresses import Address
from headrace.connection import LineBroken
from headrace.errors import ClientClosed

if TYPE_CHECKING:
    import ssl

# Below what servers allow by habit (uvicorn and nginx 5 s and more), so that a line is not used as it is closed.
_IDLE_S = 4.0
_MAX_IDLE = 16
_CHUNK = 65_536


class Answer(msgspec.Struct, frozen=True):
    """headers: names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Line:
    """An answer that is read as it comes."""

    def __init__(self, response: HTTPResponse, sock: socket.socket | None) -> None:
        self._response, self._socket = response, sock
        self.status, self.headers = response.status, _headers(response)

    def read(self) -> bytes:
        with _told():
            return self._response.read()

    def chunks(self) -> Iterator[bytes]:
        """As they arrive, until the end of the answer. LineBroken if it ends before, or is silent for too long."""
        while True:
            with _told():
                chunk = self._response.read1(_CHUNK)
            if not chunk:
                return
            yield chunk

    @contextmanager
    def cut_after(self, remaining_s: float | None) -> Iterator[None]:
        """End the line when the caller's time is up: a socket can only limit the silence between two chunks."""
        if remaining_s is None or self._socket is None:
            yield
            return
        timer = threading.Timer(max(0.0, remaining_s), _shut, (self._socket,))
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()


class Wire:
    """address: of the gateway. proxy: on the way there. timeout_s: how long to wait for a connection (10 s at most),
    and for each piece of an answer."""

    def __init__(
        self, address: Address, proxy: Address | None, *, timeout_s: float, headers: Mapping[str, str]
    ) -> None:
        self._address, self._proxy, self._timeout_s = address, proxy, timeout_s
        self._connect_s = min(timeout_s, 10.0)
        self._headers = {**headers, "accept-encoding": "identity"}
        if user := address.authorization():
            self._headers["authorization"] = user
        if proxy is not None and address.scheme == "http" and (user := proxy.authorization()):
            self._headers["proxy-authorization"] = user
        self._idle: deque[tuple[float, HTTPConnection]] = deque()
        self._pid = os.getpid()
        self._closed = False
        self._tls: ssl.SSLContext | None = None

    def close(self) -> None:
        self._closed = True
        while self._idle:
            self._idle.pop()[1].close()

    def request(self, method: str, target: str, headers: Mapping[str, str], body: bytes | None) -> Answer:
        """LineBroken if no whole answer came."""
        connection = self._connection()
        try:
            response = self._sent(connection, method, target, headers, body)
            with _told():
                content = response.read()
        except BaseException:
            connection.close()
            raise
        self._give_back(connection)
        return Answer(response.status, _headers(response), content)

    @contextmanager
    def stream(self, target: str, headers: Mapping[str, str], *, silence_s: float) -> Iterator[Line]:
        connection = self._connection()
        try:
            response = self._sent(connection, "GET", target, headers, None)
            # Where the server closes after its answer, http.client lets go of the socket, which the answer still reads.
            sock = connection.sock or getattr(getattr(response.fp, "raw", None), "_sock", None)
            if sock is not None:
                sock.settimeout(silence_s)
            yield Line(response, sock)
        finally:
            connection.close()

    def _sent(
        self, connection: HTTPConnection, method: str, target: str, headers: Mapping[str, str], body: bytes | None
    ) -> HTTPResponse:
        if connection.sock is None:
            self._connect(connection)
        path = self._address.prefix + target
        if self._proxy is not None and self._address.scheme == "http":
            path = self._address.origin + target
        with _told():
            try:
                connection.request(method, path, body, {**self._headers, **headers, "host": self._host()})
            except (BrokenPipeError, ConnectionResetError):
                # A gateway that refuses early answers and closes while the body is still on its way.
                return connection.getresponse()
            return connection.getresponse()

    def _connect(self, connection: HTTPConnection) -> None:
        connection.timeout = self._connect_s
        try:
            connection.connect()
        except (OSError, HTTPException, UnicodeError) as error:
            connection.close()
            raise LineBroken(_words(error), never_sent=True) from error
        connection.sock.settimeout(self._timeout_s)

    def _connection(self) -> HTTPConnection:
        if self._closed:
            raise ClientClosed("the client is closed")
        if self._pid != os.getpid():
            # A child of a fork must not write into its parent's connections.
            self._pid, self._idle = os.getpid(), deque()
        while self._idle:
            since, connection = self._idle.pop()
            if time.monotonic() - since < _IDLE_S and not _has_ended(connection.sock):
                return connection
            connection.close()
        return self._new_connection()

    def _new_connection(self) -> HTTPConnection:
        address, proxy = self._address, self._proxy
        if address.scheme == "http":
            if proxy is not None and proxy.scheme == "https":
                return HTTPSConnection(proxy.host, proxy.port, context=self._context())
            first = proxy or address
            return HTTPConnection(first.host, first.port)
        if proxy is None:
            return HTTPSConnection(address.host, address.port, context=self._context())
        tunnel = HTTPSConnection(proxy.host, proxy.port, context=self._context())
        user = proxy.authorization()
        tunnel.set_tunnel(address.host, address.port, {} if user is None else {"proxy-authorization": user})
        return tunnel

    def _give_back(self, connection: HTTPConnection) -> None:
        if connection.sock is None or self._closed or len(self._idle) >= _MAX_IDLE:
            connection.close()
        else:
            self._idle.append((time.monotonic(), connection))

    def _host(self) -> str:
        return msgspec.structs.replace(self._address, prefix="").origin.partition("://")[2]

    def _context(self) -> "ssl.SSLContext":
        if self._tls is None:
            self._tls = trusted()
        return self._tls


def _headers(response: HTTPResponse) -> dict[str, str]:
    return {name.lower(): value for name, value in response.getheaders()}


def trusted() -> "ssl.SSLContext":
    """What the machine trusts; SSL_CERT_FILE and SSL_CERT_DIR name other certificates."""
    import ssl

    if os.environ.get("SSL_CERT_FILE") or os.environ.get("SSL_CERT_DIR"):
        return ssl.create_default_context(
            cafile=os.environ.get("SSL_CERT_FILE") or None, capath=os.environ.get("SSL_CERT_DIR") or None
        )
    import truststore

    return truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


@contextmanager
def _told() -> Iterator[None]:
    """What goes wrong on a line, whatever noticed it, as LineBroken."""
    try:
        yield
    except (OSError, HTTPException) as error:
        raise LineBroken(_words(error), never_sent=False) from error


def _words(error: BaseException) -> str:
    match error:
        case TimeoutError():
            return "timed out"
        case OSError(strerror=str(said)):
            return said
        case _:
            return str(error) or type(error).__name__


def _has_ended(sock: socket.socket) -> bool:
    """An idle line on which something came has ended, or does not keep to HTTP."""
    if hasattr(select, "poll"):
        watch = select.poll()
        watch.register(sock, select.POLLIN)
        return bool(watch.poll(0))
    return bool(select.select([sock], [], [], 0)[0])


def _shut(sock: socket.socket) -> None:
    try:
        sock.shutdown(socket.SHUT_RDWR)
    except OSError:
        return
