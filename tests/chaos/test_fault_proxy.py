"""The fault proxy itself: each fault does what its name says, and nothing else."""

import socket
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from urllib.parse import urlsplit

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from shared_schemas.stream import linking

from tests.support.fault_proxy import FaultProxy, Greeting, fault_proxy
from tests.support.network import BOTH, Conditions, Way
from tests.support.resp import name_of, take_messages


@pytest.fixture
def proxy(redis_url: str) -> Iterator[FaultProxy]:
    with fault_proxy(redis_url, seed=1) as proxy:
        yield proxy


@pytest.fixture
def direct(redis_url: str) -> Iterator[redis.Redis]:
    with closing(redis.Redis.from_url(redis_url, protocol=2)) as client:
        yield client


def client_of(url: str, *, timeout_s: float = 5.0) -> redis.Redis:
    """It uses one connection at a time, and sends no command twice."""
    return redis.Redis.from_url(url, protocol=2, socket_timeout=timeout_s, retry=Retry(NoBackoff(), 0))


def plain_connection(proxy: FaultProxy) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", int(urlsplit(proxy.url).port or 0)))
    connection.settimeout(5.0)
    return connection


@contextmanager
def a_server() -> Iterator[tuple[socket.socket, str]]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server, f"http://127.0.0.1:{server.getsockname()[1]}"


def ping(connection: socket.socket) -> bytes:
    connection.sendall(b"*1\r\n$4\r\nPING\r\n")
    return connection.recv(100)


def test_without_a_fault_all_bytes_pass_unchanged(proxy: FaultProxy) -> None:
    large = bytes(range(256)) * 4096
    with closing(client_of(proxy.url)) as client:
        client.set("large", large)
        with client.pipeline(transaction=True) as pipeline:
            for _ in range(10):
                pipeline.get("large").lrange("none", 0, -1).get("none")
            replies = pipeline.execute()

    assert replies == [large, [], None] * 10


def test_a_connection_to_a_tcp_server_is_passed_on_too() -> None:
    with a_server() as (server, url), fault_proxy(url) as proxy, plain_connection(proxy) as near:
        with server.accept()[0] as far:
            near.sendall(b"there")
            assert far.recv(100) == b"there"
            far.sendall(b"and back")
            assert near.recv(100) == b"and back"
        assert near.recv(100) == b""


def test_a_connection_is_closed_after_so_many_bytes_of_the_answer() -> None:
    with a_server() as (server, url), fault_proxy(url, cuts=[None, 3]) as proxy:
        for expected in (b"answer", b"ans"):
            with plain_connection(proxy) as near, server.accept()[0] as far:
                far.sendall(b"answer")
                far.shutdown(socket.SHUT_WR)
                with near.makefile("rb") as answer:
                    assert answer.read() == expected


def test_both_ways_are_late_by_no_less_than_the_shortest_delay(proxy: FaultProxy) -> None:
    with plain_connection(proxy) as connection:
        ping(connection)
        proxy.impose(Conditions(delay_s=0.1, jitter_s=0.05))
        began = time.monotonic()
        assert ping(connection) == b"+PONG\r\n"

    assert time.monotonic() - began >= 2 * 0.05


def test_a_slow_connection_takes_as_long_as_its_bytes_do(proxy: FaultProxy) -> None:
    with closing(client_of(proxy.url)) as client:
        client.set("key", b"x" * 10_000)
        proxy.impose(Conditions(bytes_per_s=50_000))
        began = time.monotonic()
        assert client.get("key") == b"x" * 10_000

    assert time.monotonic() - began >= 10_000 / 50_000


def test_a_connection_is_cut_by_rst_or_by_fin(proxy: FaultProxy) -> None:
    with plain_connection(proxy) as reset, plain_connection(proxy) as ended:
        ping(reset)
        ping(ended)
        assert proxy.cut(on=lambda connection: connection.number == 0) == 1
        with pytest.raises(ConnectionResetError):
            reset.recv(100)
        assert ping(ended) == b"+PONG\r\n"
        assert proxy.cut(reset=False) == 1
        assert ended.recv(100) == b""


def test_resets_come_at_random(proxy: FaultProxy) -> None:
    proxy.impose(Conditions(resets=0.2))
    with plain_connection(proxy) as connection, pytest.raises(ConnectionResetError):
        assert {ping(connection) for _ in range(1000)} == {b"+PONG\r\n"}


def test_a_new_connection_can_be_refused_or_ignored(proxy: FaultProxy) -> None:
    with plain_connection(proxy) as old:
        assert ping(old) == b"+PONG\r\n"
        proxy.greet(Greeting.REFUSE)
        with pytest.raises(OSError, match=r"reset|Broken pipe"), plain_connection(proxy) as connection:
            ping(connection)
        proxy.greet(Greeting.IGNORE)
        with plain_connection(proxy) as connection:
            connection.settimeout(0.1)
            with pytest.raises(TimeoutError):
                ping(connection)
        assert ping(old) == b"+PONG\r\n"
        proxy.greet(Greeting.SERVE)
        with plain_connection(proxy) as connection:
            assert ping(connection) == b"+PONG\r\n"


@pytest.mark.parametrize("way", Way)
def test_what_is_held_arrives_once_healed(proxy: FaultProxy, direct: redis.Redis, way: Way) -> None:
    set_seen = proxy.watch("SET")
    with closing(client_of(proxy.url, timeout_s=0.2)) as client:
        client.ping()
        proxy.impose(Conditions(held=frozenset({way})))
        with pytest.raises(redis.exceptions.TimeoutError):
            client.set("key", "value")
        set_seen.wait()
        assert (direct.get("key") is None) == (way is Way.OUT)
        proxy.heal()
        # Redis runs a later command on another connection after this one.
        with closing(client_of(proxy.url)) as other:
            while other.get("key") is None:
                pass

    assert direct.get("key") == b"value"


def test_what_is_lost_never_arrives(proxy: FaultProxy, direct: redis.Redis) -> None:
    set_seen = proxy.watch("SET")
    with plain_connection(proxy) as connection:
        ping(connection)
        proxy.impose(Conditions(lost=BOTH), on=lambda connection: connection.number == 0)
        connection.sendall(b"*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$5\r\nvalue\r\n")
        set_seen.wait()
        # When Redis answers this, the proxy has handled everything before it.
        with closing(client_of(proxy.url)) as client:
            client.ping()
        proxy.heal()
        assert ping(connection) == b"+PONG\r\n"

    assert direct.get("key") is None


def test_a_dropped_reply_is_of_a_command_that_was_executed_once(proxy: FaultProxy, direct: redis.Redis) -> None:
    dropped = proxy.drop_reply("INCRBY", containing="counted")
    with closing(client_of(proxy.url)) as client:
        assert client.incr("other") == 1
        with pytest.raises(redis.exceptions.ConnectionError):
            client.incr("counted")
        dropped.wait()
        assert client.incr("counted") == 2

    assert (dropped.count, direct.get("counted")) == (1, b"2")


def test_replies_before_the_dropped_one_arrive(proxy: FaultProxy) -> None:
    proxy.drop_reply("GET", containing="second")
    with plain_connection(proxy) as connection, connection.makefile("rb") as replies:
        connection.sendall(
            b"*3\r\n$3\r\nSET\r\n$5\r\nfirst\r\n$1\r\n1\r\n"
            b"*2\r\n$3\r\nGET\r\n$5\r\nfirst\r\n"
            b"*2\r\n$3\r\nGET\r\n$6\r\nsecond\r\n"
        )
        assert replies.read(12) == b"+OK\r\n$1\r\n1\r\n"
        with pytest.raises(ConnectionResetError):
            replies.read(1)


def test_a_reply_can_be_chosen_by_what_it_holds(proxy: FaultProxy) -> None:
    dropped = proxy.drop_reply("GET", containing="wanted")
    with closing(client_of(proxy.url)) as client:
        assert client.get("key") is None
        client.set("key", "wanted")
        with pytest.raises(redis.exceptions.ConnectionError):
            client.get("key")
        assert client.get("key") == b"wanted"

    assert dropped.count == 1


def test_connections_are_chosen_by_the_name_of_the_client(proxy: FaultProxy) -> None:
    with closing(client_of(proxy.url_for("a"), timeout_s=0.2)) as a, closing(client_of(proxy.url_for("b"))) as b:
        a.ping()
        b.ping()
        proxy.impose(Conditions(held=BOTH), on=lambda connection: connection.client == "a")
        assert b.ping()
        with pytest.raises(redis.exceptions.TimeoutError):
            a.ping()

        assert {connection.client for connection in proxy.open_connections} >= {"b"}


def test_every_script_is_known_by_its_name() -> None:
    for name in ("settle", "stage"):
        script = linking.load(name)
        sha, source = script.sha.encode(), script.source
        for verb, word in ((b"EVALSHA", sha), (b"eval", source)):
            command = b"*2\r\n$%d\r\n%s\r\n$%d\r\n%s\r\n" % (len(verb), verb, len(word), word)
            assert name_of(command) == name


def test_messages_are_returned_whole_wherever_they_are_cut() -> None:
    sent = [
        b"+OK\r\n",
        b":12\r\n",
        b"$-1\r\n",
        b"*-1\r\n",
        b"$0\r\n\r\n",
        b"*2\r\n$3\r\na\r\n\r\n*1\r\n:1\r\n",
        b"*0\r\n",
    ]
    buffer, taken = bytearray(), list[bytes]()
    for byte in b"".join(sent):
        buffer.append(byte)
        taken += take_messages(buffer)

    assert taken == sent
    assert not buffer
