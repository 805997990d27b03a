"""Answers as they come over the connection, where a client library would hide it."""

import asyncio
import json
import re

import anyio
import httpx
import pytest

from tests.support.gateways import DEADLINE_S, Driver, Gateway

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


async def test_a_client_that_expects_100_continue_gets_it(gateway: Gateway, redis_url: str) -> None:
    head = (
        b"POST /jobs/training HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nExpect: 100-continue\r\n"
    )
    answered = await exchange(gateway, b"%bContent-Length: %d\r\n\r\n" % (head, len(BODY)), BODY, until=b"}")

    first, _, second = answered.partition(b"\r\n\r\n")
    assert first == b"HTTP/1.1 100 Continue"
    assert second.startswith(b"HTTP/1.1 202")


@pytest.mark.parametrize("path", [b"/healthz", b"/no-such-path", b"/docs", b"/events"])
async def test_a_head_is_answered_and_the_connection_goes_on(gateway: Gateway, redis_url: str, path: bytes) -> None:
    """With 405 or 404 where there is no such route."""
    both = b"HEAD %b HTTP/1.1\r\nHost: localhost\r\n\r\nGET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n" % path
    answered = await exchange(gateway, both, until=b'"ok"')

    assert answered.count(b"HTTP/1.1 ") == 2


@pytest.mark.parametrize("kind", ["text/event-stream", "application/x-ndjson"])
@pytest.mark.parametrize("is_posted", [False, True])
async def test_a_stream_to_http_1_0_is_its_body_up_to_the_end_of_the_connection(
    gateway: Gateway, http: httpx.AsyncClient, drive: Driver, kind: str, is_posted: bool
) -> None:
    """Nothing in it is the size of a chunk, whether it was there before or came while it was read."""
    job_id = (await http.post("/jobs/training", content=BODY, headers={"Content-Type": "application/json"})).json()[
        "job_id"
    ]
    path = b"/jobs/%b/events" % job_id.encode()
    asked = b"GET %b HTTP/1.0\r\nAccept: %b\r\n\r\n" % (path, kind.encode())
    if is_posted:
        kind = "text/event-stream"
        head = b"POST /jobs/training HTTP/1.0\r\nContent-Type: application/json\r\nAccept: text/event-stream\r\n"
        asked = head + b"Content-Length: %d\r\n\r\n%b" % (len(BODY), BODY)
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    with anyio.fail_after(DEADLINE_S):
        writer.write(asked)
        answered = await reader.readuntil(b'"queued"')
        if is_posted:
            job_id = re.search(rb"/jobs/(\S+)", answered)[1].decode()  # type: ignore[index]
        await drive.finish(job_id, n_events=3)
        answered += await reader.read()
    writer.close()

    head, _, body = answered.partition(b"\r\n\r\n")
    assert b"transfer-encoding" not in head.lower()
    assert b"content-length" not in head.lower()
    if kind == "application/x-ndjson":
        lines = [json.loads(line)["event"] for line in body.splitlines()]
    else:
        assert body.startswith(b"retry: 2000\n\n")
        fields = {line.partition(b":")[0] for line in body.splitlines() if line}
        assert fields == {b"retry", b"id", b"event", b"data"}
        lines = [line[7:].decode() for line in body.splitlines() if line.startswith(b"event: ")]
    assert lines.count("log") == 3
    assert lines[-1] == "done"


async def test_answers_to_requests_that_were_sent_together_come_in_order(gateway: Gateway, redis_url: str) -> None:
    paths = [b"/no-such-path", b"/healthz", b"/jobs?limit=0", b"/healthz"]
    requests = b"".join(b"GET %b HTTP/1.1\r\nHost: localhost\r\n\r\n" % path for path in paths)
    answered = await exchange(gateway, requests + b"GET /jobs HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")

    statuses = [part[:3] for part in answered.split(b"HTTP/1.1 ")[1:]]
    assert statuses == [b"404", b"200", b"422", b"200", b"200"]


async def test_a_request_for_a_websocket_is_answered_as_any_other(gateway: Gateway, redis_url: str) -> None:
    upgrade = b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: eA==\r\n"
    answered = await exchange(gateway, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n%b\r\n" % upgrade, until=b'"ok"')

    assert answered.startswith(b"HTTP/1.1 200")
