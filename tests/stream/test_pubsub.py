"""The subscription of a process: what ends it, and that it ends cleanly in the middle of any call."""

import itertools
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import anyio
import pytest
from shared_schemas.errors import BackendUnavailable
from shared_schemas.stream.connection import AsyncRedis, connect
from shared_schemas.stream.pubsub import PubSubConnection
from shared_schemas.stream.redis_settings import RedisSettings

from tests.support.redis_server import RedisServer

PATIENCE_S = 0.2


@asynccontextmanager
async def connected(redis_url: str, *, patience_s: float = PATIENCE_S) -> AsyncIterator[AsyncRedis]:
    client = connect(RedisSettings(redis_url=redis_url, redis_timeout_s=patience_s))
    try:
        yield client
    finally:
        await client.aclose()


async def test_a_channel_that_is_added_receives_messages(redis_url: str) -> None:
    async with connected(redis_url) as client, PubSubConnection(client) as pubsub:
        await pubsub.subscribe("a", "b")
        messages = pubsub.messages()
        assert [await anext(messages), await anext(messages)] == [("a", None), ("b", None)]

        await client.publish("b", b"1 state {}")
        assert await anext(messages) == ("b", b"1 state {}")

        await pubsub.unsubscribe("b")
        await pubsub.subscribe("c")
        assert await anext(messages) == ("c", None)
        await client.publish("b", b"unheard")
        await client.publish("a", b"received")
        assert await anext(messages) == ("a", b"received")


async def test_a_silent_subscription_outlives_silence_as_long_as_redis_answers(redis_url: str) -> None:
    async with (
        connected(redis_url) as client,
        connected(redis_url, patience_s=60.0) as onlooker,
        PubSubConnection(client) as pubsub,
    ):
        await pubsub.subscribe("a")
        messages = pubsub.messages()
        assert await anext(messages) == ("a", None)

        async def ring_after_pings() -> None:
            async with onlooker.monitor() as commands:
                async for command in commands.listen():
                    if command["command"] == "PING":
                        await client.publish("a", b"late")
                        return

        with anyio.fail_after(10):
            async with anyio.create_task_group() as group:
                group.start_soon(ring_after_pings)
                assert await anext(messages) == ("a", b"late")


async def test_a_redis_that_went_silent_ends_the_subscription(own_redis: RedisServer) -> None:
    async with connected(own_redis.url) as client, PubSubConnection(client) as pubsub:
        await pubsub.subscribe("a")
        messages = pubsub.messages()
        assert await anext(messages) == ("a", None)
        assert own_redis.process is not None
        own_redis.process.send_signal(signal.SIGSTOP)
        try:
            with anyio.fail_after(10), pytest.raises(BackendUnavailable):
                await anext(messages)
        finally:
            own_redis.process.send_signal(signal.SIGCONT)


async def test_a_connection_that_its_sender_closed_ends_for_its_reader(redis_url: str) -> None:
    async with connected(redis_url) as client, PubSubConnection(client) as pubsub:
        await pubsub.subscribe("a")
        messages = pubsub.messages()
        assert await anext(messages) == ("a", None)
        await client.execute_command("CLIENT KILL TYPE pubsub")

        async def ask_until_cut() -> None:
            while True:
                await pubsub.subscribe("b")
                await anyio.lowlevel.checkpoint()

        with anyio.fail_after(20), pytest.raises(BackendUnavailable):
            await ask_until_cut()
        with anyio.fail_after(20), pytest.raises(BackendUnavailable):
            await anext(messages)


@pytest.mark.parametrize("killed_after", range(6))
async def test_a_cut_connection_ends_both_sending_and_reading(redis_url: str, killed_after: int) -> None:
    """One task asks for channels while another listens, as the gateway's hub does."""
    ended: list[str] = []
    async with connected(redis_url) as client, PubSubConnection(client) as pubsub:
        await pubsub.subscribe("0")

        async def ask_for_ever() -> None:
            for number in itertools.count(1):
                await pubsub.subscribe(str(number))
                await anyio.lowlevel.checkpoint()

        async def listen() -> None:
            async for channel, _ in pubsub.messages():
                if channel == str(killed_after):
                    await client.execute_command("CLIENT KILL TYPE pubsub")

        async def until_cut(task: Callable[[], Awaitable[None]]) -> None:
            with pytest.raises(BackendUnavailable):
                await task()
            ended.append(task.__name__)

        with anyio.fail_after(20):
            async with anyio.create_task_group() as group:
                group.start_soon(until_cut, ask_for_ever)
                group.start_soon(until_cut, listen)

    assert sorted(ended) == ["ask_for_ever", "listen"]
