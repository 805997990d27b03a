"""The blocking client's connections, and what both clients do when a connection
has changed or broken."""

import asyncio
import gc
import inspect
import os
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from headrace import AsyncClient, Client, ClientClosed, InvalidJob, ProtocolError, Settings, Unreachable
from headrace_local.system import free_port

from tests.client.test_client import MISSING


class Seen(BaseHTTPRequestHandler):
    """Answers every request with no jobs. The server keeps the paths, headers and
    connections of all requests."""

    protocol_version = "HTTP/1.1"
    server: Any

    def do_GET(self) -> None:
        self.server.paths.append(self.path)
        self.server.headers.append(dict(self.headers))
        self.server.connections.add(self.client_address)
        body = b'{"jobs":[],"next_cursor":null}'
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        for name, value in self.server.answered:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: Any) -> None:
        return


@contextmanager
def serving(*answered: tuple[str, str]) -> Iterator[Any]:
    server: Any = ThreadingHTTPServer(("127.0.0.1", 0), Seen)
    server.paths, server.headers, server.connections, server.answered = [], [], set(), answered
    server.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def listed(client: Client) -> list[Any]:
    return list(client.list())


async def listed_async(client: AsyncClient) -> list[Any]:
    return [row async for row in client.list()]


def test_requests_one_after_the_other_share_a_connection() -> None:
    with serving() as server, Client(server.url) as client:
        for _ in range(3):
            assert listed(client) == []

    assert len(server.connections) == 1


def test_a_connection_that_the_server_closes_is_not_used_again() -> None:
    with serving(("connection", "close")) as server, Client(server.url) as client:
        for _ in range(3):
            listed(client)

    assert len(server.connections) == 3


def test_a_client_is_shared_by_threads() -> None:
    with serving() as server, Client(server.url) as client, ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda _: listed(client), range(100))) == [[]] * 100


@pytest.mark.parametrize("prefix", ["", "/", "/headrace", "/headrace/"])
def test_a_path_in_front_of_the_api_is_kept_by_both_clients(prefix: str) -> None:
    with serving() as server:
        with Client(server.url + prefix) as client:
            listed(client)
        asyncio.run(listed_async(AsyncClient(server.url + prefix)))

    assert server.paths == [f"{prefix.rstrip('/')}/jobs"] * 2


def test_a_user_in_the_url_is_sent_by_both_clients() -> None:
    with serving() as server:
        url = server.url.replace("//", "//me:p%40ss@")
        with Client(url) as client:
            listed(client)
        asyncio.run(listed_async(AsyncClient(url)))

    assert [headers.get("authorization") for headers in map(lowered, server.headers)] == ["Basic bWU6cEBzcw=="] * 2


def lowered(headers: dict[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def test_a_proxy_of_the_environment_is_asked_for_the_whole_address_by_both_clients(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with serving() as proxy:
        monkeypatch.setenv("http_proxy", proxy.url.replace("//", "//me:secret@"))
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)
        with Client("http://gateway.example:8000/under") as client:
            listed(client)
        asyncio.run(listed_async(AsyncClient("http://gateway.example:8000/under")))

    assert proxy.paths == ["http://gateway.example:8000/under/jobs"] * 2
    for headers in map(lowered, proxy.headers):
        assert headers["host"] == "gateway.example:8000"
        assert headers["proxy-authorization"] == "Basic bWU6c2VjcmV0"


def test_a_proxy_that_is_away_is_named_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    monkeypatch.setenv("https_proxy", f"http://me:secret@127.0.0.1:{port}")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)

    client = Client("https://gateway.example", settings=Settings(retries=0))
    with pytest.raises(Unreachable, match=f"by way of the proxy http://127.0.0.1:{port}") as caught:
        client.job(MISSING)

    assert "secret" not in str(caught.value)


ANSWERS = [
    (b"SSH-2.0-OpenSSH_9.2\r\n", Unreachable),
    (b"", Unreachable),
    (b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{", Unreachable),
    (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\n{", Unreachable),
    (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n[]", ProtocolError),
    (b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello", ProtocolError),
]


@pytest.mark.parametrize(("answer", "expected"), ANSWERS, ids=[str(row[0][:20]) for row in ANSWERS])
def test_what_is_no_answer_is_a_typed_error_of_both_clients(answer: bytes, expected: type[Exception]) -> None:
    with answering(answer) as url:
        with Client(url, settings=Settings(retries=0)) as client, pytest.raises(expected):
            client.job(MISSING)
        with pytest.raises(expected):
            asyncio.run(AsyncClient(url, settings=Settings(retries=0)).job(MISSING))


@contextmanager
def answering(answer: bytes) -> Iterator[str]:
    """A server that gives the same answer to every request, and closes the connection."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                connection.recv(65536)
                connection.sendall(answer)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


def test_one_async_client_works_in_one_event_loop_after_another() -> None:
    with serving() as server:
        client = AsyncClient(server.url)
        for _ in range(3):
            assert asyncio.run(listed_async(client)) == []
        gc.collect()
        asyncio.run(client.close())


def test_one_async_client_works_in_event_loops_of_several_threads() -> None:
    with serving() as server, ThreadPoolExecutor(4) as pool:
        client = AsyncClient(server.url)
        assert list(pool.map(lambda _: asyncio.run(listed_async(client)), range(12))) == [[]] * 12


def test_a_closed_client_says_so() -> None:
    client = Client()
    client.close()
    client.close()
    with pytest.raises(ClientClosed):
        listed(client)

    async def closed() -> None:
        client = AsyncClient()
        await client.close()
        await client.close()
        await client.job(MISSING)

    with pytest.raises(ClientClosed):
        asyncio.run(closed())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_leaves_its_parents_connections_alone() -> None:
    with serving() as server, Client(server.url) as client:
        listed(client)
        child = os.fork()
        if child == 0:
            os._exit(0 if listed(client) == [] else 1)
        _, status = os.waitpid(child, 0)
        listed(client)

    assert status == 0
    assert len(server.connections) == 2


def test_both_clients_have_the_same_methods_with_the_same_parameters() -> None:
    def public(kind: type) -> set[str]:
        return {name for name in dir(kind) if not name.startswith("_")}

    assert public(Client) == public(AsyncClient)
    for name in sorted({"__init__", *public(Client)} - {"url"}):
        blocking, awaited = (
            list(inspect.signature(getattr(kind, name)).parameters.values()) for kind in (Client, AsyncClient)
        )
        # A task is cancelled, but a thread needs a deadline.
        assert [p for p in blocking if (name, p.name) != ("follow", "timeout_s")] == awaited, name


def test_an_input_that_cannot_be_is_refused_before_anything_is_sent() -> None:
    nan = float("nan")
    with serving() as server, pytest.raises(InvalidJob, match=r"input_data\[0\]\['size'\] is NaN"):
        Client(server.url).submit_inference(model_id="m", input_data=[{"size": nan}])

    assert server.paths == []
