"""The blocking client's connections: HTTP/1.1 with the standard library, kept open
and shared between threads.

Importing http.client takes a third of the time of an HTTP library, and imports take most of the
time of a short command. Knows neither jobs nor which requests may be sent again.
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
from headrace.connection import ConnectionFailed
from headrace.errors import ClientClosed

if TYPE_CHECKING:
    import ssl

# Servers usually close an idle connection after 5 s or more (uvicorn, nginx). Below that, none is
# reused while the server closes it.
_IDLE_S = 4.0
_MAX_IDLE = 16
_CHUNK = 65_536


class Response(msgspec.Struct, frozen=True):
    """headers: names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class StreamedResponse:
    """A response whose body is read as it arrives."""

    def __init__(self, response: HTTPResponse, sock: socket.socket | None) -> None:
        self._response, self._socket = response, sock
        self.status, self.headers = response.status, _headers(response)

    def read(self) -> bytes:
        with _connection_errors():
            return self._response.read()

    def chunks(self) -> Iterator[bytes]:
        """The body as it arrives. ConnectionFailed if it ends too early, or
        nothing arrives for too long."""
        while True:
            with _connection_errors():
                chunk = self._response.read1(_CHUNK)
            if not chunk:
                return
            yield chunk

    @contextmanager
    def cut_after(self, remaining_s: float | None) -> Iterator[None]:
        """Close the connection after remaining_s. A timeout of the socket only limits the
        time between two chunks."""
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


class ConnectionPool:
    """address: of the gateway. proxy: between here and the gateway. timeout_s: for a connection (10
    s at most) and for each piece of a response."""

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

    def request(self, method: str, target: str, headers: Mapping[str, str], body: bytes | None) -> Response:
        """ConnectionFailed if no complete response came."""
        connection = self._connection()
        try:
            response = self._sent(connection, method, target, headers, body)
            with _connection_errors():
                content = response.read()
        except BaseException:
            connection.close()
            raise
        self._give_back(connection)
        return Response(response.status, _headers(response), content)

    @contextmanager
    def stream(self, target: str, headers: Mapping[str, str], *, silence_s: float) -> Iterator[StreamedResponse]:
        connection = self._connection()
        try:
            response = self._sent(connection, "GET", target, headers, None)
            # If the server closes the connection after the response, http.client drops its
            # reference to the socket, but the response still reads from it.
            sock = connection.sock or getattr(getattr(response.fp, "raw", None), "_sock", None)
            if sock is not None:
                sock.settimeout(silence_s)
            yield StreamedResponse(response, sock)
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
        with _connection_errors():
            try:
                connection.request(method, path, body, {**self._headers, **headers, "host": self._host()})
            except (BrokenPipeError, ConnectionResetError):
                # A gateway that refuses a request may answer and close before it
                # has received the whole body.
                return connection.getresponse()
            return connection.getresponse()

    def _connect(self, connection: HTTPConnection) -> None:
        connection.timeout = self._connect_s
        try:
            connection.connect()
        except (OSError, HTTPException, UnicodeError) as error:
            connection.close()
            raise ConnectionFailed(_describe(error), never_sent=True) from error
        connection.sock.settimeout(self._timeout_s)

    def _connection(self) -> HTTPConnection:
        if self._closed:
            raise ClientClosed("the client is closed")
        if self._pid != os.getpid():
            # After a fork, the child must not use the connections of its parent.
            self._pid, self._idle = os.getpid(), deque()
        while self._idle:
            since, connection = self._idle.pop()
            if time.monotonic() - since < _IDLE_S and not _is_unusable(connection.sock):
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
            self._tls = tls_context()
        return self._tls


def _headers(response: HTTPResponse) -> dict[str, str]:
    return {name.lower(): value for name, value in response.getheaders()}


def tls_context() -> "ssl.SSLContext":
    """Trusts the certificates of the machine, or those that SSL_CERT_FILE and SSL_CERT_DIR name."""
    import ssl

    if os.environ.get("SSL_CERT_FILE") or os.environ.get("SSL_CERT_DIR"):
        return ssl.create_default_context(
            cafile=os.environ.get("SSL_CERT_FILE") or None, capath=os.environ.get("SSL_CERT_DIR") or None
        )
    import truststore

    return truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


@contextmanager
def _connection_errors() -> Iterator[None]:
    """Turn errors of the connection into ConnectionFailed."""
    try:
        yield
    except (OSError, HTTPException) as error:
        raise ConnectionFailed(_describe(error), never_sent=False) from error


def _describe(error: BaseException) -> str:
    match error:
        case TimeoutError():
            return "timed out"
        case OSError(strerror=str(reason)):
            return reason
        case _:
            return str(error) or type(error).__name__


def _is_unusable(sock: socket.socket) -> bool:
    """Whether an idle connection cannot be used. If data or an end has arrived, it was
    closed, or is not HTTP."""
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
