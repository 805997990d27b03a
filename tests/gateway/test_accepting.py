"""How the gateway accepts connections that come all at once."""

import asyncio
import os
import signal
from pathlib import Path
from typing import cast

from gateway.edge.server import ACCEPTED_A_TURN

from tests.support.gateways import DEADLINE_S, running_gateway

N_CONNECTIONS = 256
_REQUEST = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"


class Answers:
    """until_all: done once each connection has an answer."""

    def __init__(self) -> None:
        self.n, self.n_first = 0, 0
        self.until_all: asyncio.Future[None] = asyncio.get_running_loop().create_future()


class Asking(asyncio.Protocol):
    """A connection that asks again as soon as it has its answer."""

    def __init__(self, answers: Answers) -> None:
        self._answers, self._has_first = answers, False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.write(_REQUEST)

    def data_received(self, data: bytes) -> None:
        self._answers.n += 1
        self._answers.n_first += not self._has_first
        self._has_first = True
        if self._answers.n_first < N_CONNECTIONS:
            self.transport.write(_REQUEST)
        elif not self._answers.until_all.done():
            self._answers.until_all.set_result(None)


async def test_the_last_of_many_new_connections_waits_for_few_requests_of_the_others(
    redis_url: str, tmp_path: Path
) -> None:
    answers = Answers()
    with running_gateway(redis_url, tmp_path) as gateway:
        # All connections wait when it goes on.
        os.kill(gateway.pid, signal.SIGSTOP)
        made = [
            await asyncio.get_running_loop().create_connection(lambda: Asking(answers), "127.0.0.1", gateway.port)
            for _ in range(N_CONNECTIONS)
        ]
        os.kill(gateway.pid, signal.SIGCONT)
        async with asyncio.timeout(DEADLINE_S):
            await answers.until_all
        for transport, _ in made:
            transport.close()

    # Each turn of the gateway's event loop answers each accepted connection once at most.
    n_turns = N_CONNECTIONS // ACCEPTED_A_TURN
    at_most = sum(ACCEPTED_A_TURN * turn for turn in range(1, n_turns + 1))
    assert N_CONNECTIONS <= answers.n <= at_most + N_CONNECTIONS
