"""One stack for the tests that leave it as they found it: building it takes minutes."""

import os
from collections.abc import AsyncIterator, Iterator

import pytest
from headrace import AsyncClient

from tests.containers.stack import Stack, engine, running_stack


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    if engine() is None:
        pytest.skip("neither docker nor podman works here")
    with running_stack(f"headrace-test-{os.getpid()}", tmp_path_factory.mktemp("stack")) as stack:
        yield stack


@pytest.fixture
def stack(built: Stack) -> Stack:
    """One container of each part, whatever was scaled before."""
    if built.is_scaled:
        built.up()
    return built


@pytest.fixture
async def client(stack: Stack) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(settings=stack.patient) as client:
        yield client
