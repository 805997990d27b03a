"""Answers as they come over the connection, where a client library would hide it."""

import asyncio

import anyio
import pytest

from tests.support.gateways import DEADLINE_S, Gateway

BODY = b'{"model_type":"tabular","data_path":"x.csv"}'


async def exchange(gateway: Gateway, *parts: bytes, until: bytes | None = None) -> bytes:
    """Sends the first part, and each other once something was answered. -> what is answered, up to `until`, or to the
    end of the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    answered = b""
    with anyio.fail_after(DEADLINE_S):
        for part in parts:
            if part is not parts[0]:
                answered += await reader.readuntil(b"\r\n\r\n")
            writer.write(part)
        answered += await (reader.read() if until is None else reader.readuntil(until))
    writer.close()
    return answered


async def test_a_client_that_asks_is_told_to_send_its_body(gateway: Gateway, redis_url: str) -> None:
    head = b"POST /jobs/training HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nExpect: 100-continue\r\n"
    answered = await exchange(gateway, b"%bContent-Length: %d\r\n\r\n" % (head, len(BODY)), BODY, until=b"}")

    first, _, second = answered.partition(b"\r\n\r\n")
    assert first == b"HTTP/1.1 100 Continue"
    assert second.startswith(b"HTTP/1.1 202")


@pytest.mark.parametrize("path", [b"/healthz", b"/no-such-path", b"/docs", b"/events"])
async def test_a_head_is_answered_and_the_connection_goes_on(gateway: Gateway, redis_url: str, path: bytes) -> None:
    """With 405 or 404 where there is no such route."""
    both = b"HEAD %b HTTP/1.1\r\nHost: x\r\n\r\nGET /healthz HTTP/1.1\r\nHost: x\r\n\r\n" % path
    answered = await exchange(gateway, both, until=b'"ok"')

    assert answered.count(b"HTTP/1.1 ") == 2


async def test_answers_to_requests_that_were_sent_together_come_in_order(gateway: Gateway, redis_url: str) -> None:
    paths = [b"/no-such-path", b"/healthz", b"/jobs?limit=0", b"/healthz"]
    requests = b"".join(b"GET %b HTTP/1.1\r\nHost: x\r\n\r\n" % path for path in paths)
    answered = await exchange(gateway, requests + b"GET /jobs HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")

    statuses = [part[:3] for part in answered.split(b"HTTP/1.1 ")[1:]]
    assert statuses == [b"404", b"200", b"422", b"200", b"200"]


async def test_a_request_for_a_websocket_is_answered_as_any_other(gateway: Gateway, redis_url: str) -> None:
    upgrade = b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: eA==\r\n"
    answered = await exchange(gateway, b"GET /healthz HTTP/1.1\r\nHost: x\r\n%b\r\n" % upgrade, until=b'"ok"')

    assert answered.startswith(b"HTTP/1.1 200")
