"""What comes before a request, or instead of one, is bounded and refused
as every other thing is."""

import asyncio
import json
import re
from collections.abc import Iterator

import anyio
import pytest

from tests.support.gateways import DEADLINE_S, TRAINING_BODY, Gateway, cut_short, running_gateway
from tests.support.redis_server import RedisServer

LIMIT = 65_536
GET = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
BODY = json.dumps(TRAINING_BODY).encode()
POST = b"POST /jobs/training HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


@pytest.fixture(scope="module")
def hasty(shared_redis: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """With little patience and little room."""
    folder = tmp_path_factory.mktemp("gateway")
    limits = {"head_timeout_s": 0.3, "max_connections": 20, "max_streams": 2, "max_pipelined": 4}
    with running_gateway(shared_redis.url, folder, **limits) as gateway:
        yield gateway


async def exchange(gateway: Gateway, *parts: bytes) -> bytes:
    """All that is answered to the parts, sent one after the other, up to the
    end of the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    try:
        with anyio.fail_after(DEADLINE_S):
            for part in parts:
                writer.write(part)
                await asyncio.sleep(0)
            return await reader.read()
    finally:
        writer.close()


def problem(answer: bytes, status: int, code: str) -> None:
    """It is that one, as a problem, and the connection ends."""
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status), answer[:200]
    assert re.search(rb"(?im)^content-type: application/problem\+json\r?$", head)
    assert re.search(rb"(?im)^connection: close\r?$", head)
    said = json.loads(body)
    assert (said["status"], said["code"]) == (status, code)
    assert said["request_id"].encode() in head


def headers(n_bytes: int, n_lines: int = 8) -> bytes:
    return b"".join(b"X-%d: %b\r\n" % (i, b"a" * (n_bytes // n_lines)) for i in range(n_lines))


START = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
REFUSED: list[tuple[str, list[bytes], int, str]] = [
    ("headers", [START + headers(LIMIT + 5000) + b"\r\n"], 431, "head_too_large"),
    ("headers without an end", [START, *[headers(8192)] * 40], 431, "head_too_large"),
    ("one header without an end", [START + b"X: ", *[b"a" * 8192] * 40], 431, "head_too_large"),
    ("one name without an end", [START, *[b"a" * 8192] * 40], 431, "head_too_large"),
    ("many tiny headers", [START, b"a:\r\n" * 1001, b"\r\n"], 431, "head_too_large"),
    ("a target", [b"GET /" + b"a" * LIMIT + b" HTTP/1.1\r\nHost: localhost\r\n\r\n"], 414, "target_too_long"),
    ("a query", [b"GET /jobs?tag=" + b"a" * LIMIT + b" HTTP/1.1\r\nHost: localhost\r\n\r\n"], 414, "target_too_long"),
    ("a target without an end", [b"GET /", *[b"a" * 8192] * 40], 414, "target_too_long"),
    ("trailers", [CHUNKED, b"0\r\n", *[headers(8192)] * 40], 431, "head_too_large"),
    ("trailers a little too large", [CHUNKED, b"0\r\n" + headers(LIMIT) + b"\r\n"], 431, "head_too_large"),
    ("one trailer without an end", [CHUNKED, b"0\r\nX: ", *[b"a" * 8192] * 40], 431, "head_too_large"),
    ("an extension of a chunk", [CHUNKED, b"1;x=", *[b"a" * 8192] * 40], 431, "head_too_large"),
    ("chunks of one byte", [CHUNKED, *[b"1\r\n{\r\n" * 5000] * 5], 400, "malformed_request"),
    ("extensions of many chunks", [CHUNKED, *[b"1;a=b%b\r\n{\r\n" % (b"c" * 200) * 100] * 5], 400, "malformed_request"),
    ("behind another", [GET, START, *[headers(8192)] * 40], 431, "head_too_large"),
    ("no HTTP", [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"], 400, "malformed_request"),
    ("NUL in a header", [START + b"X: a\x00b\r\n\r\n"], 400, "malformed_request"),
    ("a folded header", [START + b"X: a\r\n b\r\n\r\n"], 400, "malformed_request"),
    ("a blank before the colon", [START + b"X : a\r\n\r\n"], 400, "malformed_request"),
    ("two lengths", [POST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n{}"], 400, "malformed_request"),
    ("length and chunks", [POST + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"], 400,
     "malformed_request"),
    ("a length that is none", [POST + b"Content-Length: 0x2\r\n\r\n{}"], 400, "malformed_request"),
    ("a length beyond all", [POST + b"Content-Length: 1" + b"0" * 40 + b"\r\n\r\n"], 400, "malformed_request"),
    ("a chunk size that is none", [CHUNKED + b"zz\r\n"], 400, "malformed_request"),
    ("a chunk size beyond all", [CHUNKED + b"f" * 40 + b"\r\n"], 400, "malformed_request"),
    ("another coding", [POST + b"Transfer-Encoding: gzip\r\n\r\n"], 400, "malformed_request"),
    ("two codings", [POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"], 400, "malformed_request"),
    ("CONNECT", [b"CONNECT example.org:443 HTTP/1.1\r\nHost: example.org:443\r\n\r\n"], 400, "malformed_request"),
    ("HTTP/2", [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"], 400, "malformed_request"),
    ("another version", [b"GET /healthz HTTP/2.0\r\nHost: localhost\r\n\r\n"], 505, "http_version_unsupported"),
    ("no version", [b"GET /healthz\r\n\r\n"], 505, "http_version_unsupported"),
    ("a target that is none", [b"GET /\xff HTTP/1.1\r\nHost: localhost\r\n\r\n"], 400, "malformed_request"),
]  # fmt: skip


@pytest.mark.parametrize(("parts", "status", "code"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
async def test_what_is_no_request_or_too_large_for_one_is_refused_as_a_problem(
    gateway: Gateway, redis_url: str, parts: list[bytes], status: int, code: str
) -> None:
    answer = await exchange(gateway, *parts)

    *before, last = re.split(rb"(?=HTTP/1\.1 [0-9]{3} )", answer)[1:]
    assert [one[9:12] for one in before] == ([b"200"] if parts[0] == GET else [])
    problem(last, status, code)


async def test_a_head_up_to_the_limit_is_taken(gateway: Gateway, redis_url: str) -> None:
    start = START + b"Connection: close\r\n"
    filled = start + headers(LIMIT - len(start) - 200) + b"\r\n"
    assert LIMIT - 300 < len(filled) <= LIMIT

    assert (await exchange(gateway, filled)).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("sent", [b"", b"\r\n", b"GET /hea", START, GET + START], ids=repr)
async def test_a_head_that_does_not_come_ends_the_connection(hasty: Gateway, redis_url: str, sent: bytes) -> None:
    answer = await exchange(hasty, sent)

    problem(answer[answer.rindex(b"HTTP/1.1 ") :], 408, "head_timeout")
    assert answer.count(b"HTTP/1.1 ") == (2 if sent.startswith(GET) else 1)


async def test_a_body_that_an_answer_did_not_wait_for_is_not_waited_for(hasty: Gateway, redis_url: str) -> None:
    answer = await exchange(hasty, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\nabc")

    assert answer.count(b"HTTP/1.1 200") == 1


async def test_requests_beyond_the_pipeline_wait_and_are_all_answered_in_order(hasty: Gateway, redis_url: str) -> None:
    n = 3000
    paths = b"".join(b"GET /p%d HTTP/1.1\r\nHost: localhost\r\n\r\n" % i for i in range(n))
    reader, writer = await asyncio.open_connection("127.0.0.1", hasty.port)
    with anyio.fail_after(DEADLINE_S * 3):
        writer.write(paths + START + b"Connection: close\r\nX-Request-ID: the_last_one\r\n\r\n")
        answer = await reader.read()
    writer.close()

    assert answer.count(b"HTTP/1.1 404 ") == n
    assert answer.count(b"HTTP/1.1 200 ") == 1
    assert answer.rindex(b"the_last_one") > answer.rindex(b"HTTP/1.1 404 ")


async def test_an_upgrade_to_what_is_not_spoken_is_a_request_as_any_other(gateway: Gateway, redis_url: str) -> None:
    """As Java's client and `curl --http2` send them."""
    h2c = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n"
    posted = POST + h2c + b"Content-Length: %d\r\n\r\n%b" % (len(BODY), BODY)
    got = START + h2c + b"\r\n"
    closing = START + b"Connection: close\r\n\r\n"

    chunked = POST + h2c + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)
    empty = POST + h2c + b"Content-Length: 0\r\n\r\n"
    everything = posted + got + chunked + empty + closing

    for parts in ([everything], [everything[i : i + 1] for i in range(len(everything))]):
        answer = await exchange(gateway, *parts)
        assert re.findall(rb"HTTP/1\.1 ([0-9]{3})", answer) == [b"202", b"200", b"202", b"400", b"200"]


async def test_a_body_of_very_many_parts_is_read_whole_and_so_is_what_follows(gateway: Gateway, redis_url: str) -> None:
    """More than are taken in one turn of the event loop."""
    chunks = b"1\r\n \r\n" * 8000 + b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)

    answer = await exchange(gateway, CHUNKED + chunks + GET + START + b"Connection: close\r\n\r\n")

    assert re.findall(rb"HTTP/1\.1 ([0-9]{3}) ", answer) == [b"202", b"200", b"200"]


async def test_trailers_are_no_headers(gateway: Gateway, redis_url: str) -> None:
    chunks = b"%x\r\n%b\r\n0\r\nX-Request-ID: from_a_trailer\r\n\r\n" % (len(BODY), BODY)

    answer = await exchange(gateway, CHUNKED + chunks + START + b"Connection: close\r\n\r\n")

    assert re.findall(rb"HTTP/1\.1 ([0-9]{3})", answer) == [b"202", b"200"]
    assert b"from_a_trailer" not in answer


async def test_connections_beyond_the_limit_are_refused_with_a_time_to_retry(hasty: Gateway, redis_url: str) -> None:
    connections = [await asyncio.open_connection("127.0.0.1", hasty.port) for _ in range(20)]
    try:
        for reader, writer in connections:
            writer.write(GET)
            await reader.readuntil(b'"ok"')
        answer = await exchange(hasty, b"")
        problem(answer, 503, "too_many_connections")
        assert re.search(rb"(?i)retry-after: [0-9]", answer)
        connections[0][1].write(GET)
        await connections[0][0].readuntil(b'"ok"')
    finally:
        for _, writer in connections:
            writer.close()


async def test_streams_beyond_the_limit_are_refused_with_a_time_to_retry(hasty: Gateway, redis_url: str) -> None:
    """A reader that reconnects gets an empty stream instead of a 503, because an
    EventSource then tries again."""
    async with hasty.client() as client:
        async with client.stream("GET", "/events"), client.stream("GET", "/events"):
            late = await client.get("/events")
            again = await cut_short(client, "/events", {"Last-Event-ID": "inference:1-1"})
            posted = await client.post("/jobs/training", json=TRAINING_BODY, headers={"Accept": "text/event-stream"})
            head = await client.get("/healthz")
            jobs = (await client.get("/jobs")).json()["jobs"]
        assert (late.status_code, late.json()["code"], late.headers["retry-after"]) == (503, "too_many_streams", "2")
        assert again == (200, b"retry: 2000\n\n")
        assert (posted.status_code, jobs) == (503, [])
        assert head.status_code == 200


HOSTS: list[tuple[bytes, int]] = [
    (b"Host: localhost\r\n", 200),
    (b"Host: LocalHost:8000\r\n", 200),
    (b"Host: localhost.\r\n", 200),
    (b"Host: jobs.localhost\r\n", 200),
    (b"Host: 127.0.0.1\r\n", 200),
    (b"Host: 127.1.2.3:1\r\n", 200),
    (b"Host: [::1]:8000\r\n", 200),
    (b"Host: [::ffff:127.0.0.1]\r\n", 200),
    (b"Host: evil.example\r\n", 421),
    (b"Host: evil.example:8000\r\n", 421),
    (b"Host: localhost.evil.example\r\n", 421),
    (b"Host: 127.0.0.1.evil.example\r\n", 421),
    (b"Host: evillocalhost\r\n", 421),
    (b"Host: 192.168.1.5:8000\r\n", 421),
    (b"Host: [2001:db8::1]\r\n", 421),
    (b"Host: user@localhost\r\n", 400),
    (b"Host: localhost, evil.example\r\n", 400),
    (b"Host: localhost/\r\n", 400),
    (b"Host: \xff\r\n", 400),
    (b"Host: \r\n", 400),
    (b"", 400),
    (b"Host: localhost\r\nHost: localhost\r\n", 400),
]


@pytest.mark.parametrize(("host", "status"), HOSTS, ids=[repr(row[0])[2:-1] for row in HOSTS])
async def test_the_gateway_is_called_by_names_of_its_own_alone(
    gateway: Gateway, redis_url: str, host: bytes, status: int
) -> None:
    answer = await exchange(gateway, b"GET /healthz HTTP/1.1\r\n" + host + b"Connection: close\r\n\r\n")

    assert answer.startswith(b"HTTP/1.1 %d " % status), answer
    if status != 200:
        assert b"application/problem+json" in answer
        assert b"evil" not in answer


@pytest.mark.parametrize(
    ("target", "status"),
    [(b"http://localhost/healthz", 200), (b"http://evil.example/healthz", 421), (b"http://127.0.0.1:1/healthz", 200)],
)
async def test_a_target_with_a_host_of_its_own_wins_over_the_header(
    gateway: Gateway, redis_url: str, target: bytes, status: int
) -> None:
    host = b"evil.example" if status == 200 else b"localhost"
    answer = await exchange(gateway, b"GET %b HTTP/1.1\r\nHost: %b\r\nConnection: close\r\n\r\n" % (target, host))

    assert answer.startswith(b"HTTP/1.1 %d " % status)


async def test_a_request_of_http_1_0_needs_no_host(gateway: Gateway, redis_url: str) -> None:
    assert (await exchange(gateway, b"GET /healthz HTTP/1.0\r\n\r\n")).startswith(b"HTTP/1.1 200")
    assert (await exchange(gateway, b"GET /healthz HTTP/1.0\r\nHost: evil.example\r\n\r\n")).startswith(b"HTTP/1.1 421")


async def test_options_of_the_server_says_what_it_has(gateway: Gateway, redis_url: str) -> None:
    answer = await exchange(gateway, b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")

    assert answer.startswith(b"HTTP/1.1 204")
    assert re.search(rb"(?i)allow: [A-Z, ]*GET, HEAD, OPTIONS, POST, PUT", answer)
