"""Requests that arrive during a call to Redis share the next one, and each gets its own answer or error."""

from collections.abc import Sequence

import anyio
import pytest
from gateway.intake.coalescing import CALL_BYTES, CALL_ITEMS, Coalescer
from shared_schemas.errors import BackendUnavailable


class Backend:
    """Answers each item with its square, when it may; negative ones are refused, and 1001 brings down its call."""

    def __init__(self) -> None:
        self.calls: list[list[int]] = []
        self.may_answer = anyio.Event()
        self.is_away = False

    async def call(self, items: Sequence[int]) -> list[int | ValueError]:
        self.calls.append(list(items))
        await self.may_answer.wait()
        if self.is_away:
            raise BackendUnavailable("away")
        if 1001 in items:
            raise ValueError("1001 cannot be told")
        return [ValueError(str(item)) if item < 0 else item * item for item in items]


async def ask_all(coalescer: Coalescer[int, int], items: Sequence[int], *, n_bytes: int = 0) -> dict[int, object]:
    answers: dict[int, object] = {}

    async def ask(item: int) -> None:
        try:
            answers[item] = await coalescer.ask(item, n_bytes=n_bytes)
        except (ValueError, BackendUnavailable) as error:
            answers[item] = str(error)

    async with anyio.create_task_group() as group:
        for item in items:
            group.start_soon(ask, item)
    return answers


async def test_items_that_arrive_during_a_call_share_the_next_and_each_gets_its_own_answer() -> None:
    backend = Backend()
    coalescer = Coalescer(backend.call)
    answers: dict[int, object] = {}

    async def ask(items: Sequence[int]) -> None:
        answers.update(await ask_all(coalescer, items))

    with anyio.fail_after(10):
        async with anyio.create_task_group() as serving:
            serving.start_soon(coalescer.run)
            async with anyio.create_task_group() as callers:
                callers.start_soon(ask, [1])
                await anyio.wait_all_tasks_blocked()
                callers.start_soon(ask, [2, -3, 4])
                await anyio.wait_all_tasks_blocked()
                backend.may_answer.set()
            serving.cancel_scope.cancel()

    assert backend.calls == [[1], [2, -3, 4]]
    assert answers == {1: 1, 2: 4, -3: "-3", 4: 16}


@pytest.mark.parametrize(
    ("n_bytes", "sizes"), [(0, [1, CALL_ITEMS, CALL_ITEMS, 49]), (CALL_BYTES // 100, [1, 101, 101, 101, 101, 45])]
)
async def test_a_call_carries_at_most_so_many_items_and_bytes(n_bytes: int, sizes: list[int]) -> None:
    backend = Backend()
    coalescer = Coalescer(backend.call)
    backend.may_answer.set()
    with anyio.fail_after(10):
        async with anyio.create_task_group() as serving:
            serving.start_soon(coalescer.run)
            answers = await ask_all(coalescer, range(2 * CALL_ITEMS + 50), n_bytes=n_bytes)
            serving.cancel_scope.cancel()

    assert answers == {n: n * n for n in range(2 * CALL_ITEMS + 50)}
    assert [len(call) for call in backend.calls] == sizes


async def test_an_item_larger_than_a_call_goes_by_itself() -> None:
    backend = Backend()
    coalescer = Coalescer(backend.call)
    backend.may_answer.set()
    with anyio.fail_after(10):
        async with anyio.create_task_group() as serving:
            serving.start_soon(coalescer.run)
            answers = await ask_all(coalescer, [1, 2, 3], n_bytes=2 * CALL_BYTES)
            serving.cancel_scope.cancel()

    assert answers == {1: 1, 2: 4, 3: 9}
    assert backend.calls == [[1], [2], [3]]


async def test_all_callers_get_what_a_call_raises_and_the_next_call_is_made() -> None:
    backend = Backend()
    coalescer = Coalescer(backend.call)
    backend.may_answer.set()
    with anyio.fail_after(10):
        async with anyio.create_task_group() as serving:
            serving.start_soon(coalescer.run)
            backend.is_away = True
            away = await ask_all(coalescer, [1, 2])
            backend.is_away = False
            back = await ask_all(coalescer, [3])
            serving.cancel_scope.cancel()

    assert away == {1: "away", 2: "away"}
    assert back == {3: 9}


async def test_an_item_that_fails_its_call_fails_no_other_item() -> None:
    backend = Backend()
    coalescer = Coalescer(backend.call)
    backend.may_answer.set()
    with anyio.fail_after(10):
        async with anyio.create_task_group() as serving:
            serving.start_soon(coalescer.run)
            answers = await ask_all(coalescer, [1, 1001, 2])
            serving.cancel_scope.cancel()

    assert answers == {1: 1, 1001: "1001 cannot be told", 2: 4}


async def test_waiting_callers_get_an_error_when_the_gateway_stops_and_a_lone_caller_gets_its_answer() -> None:
    backend = Backend()
    coalescer = Coalescer(backend.call)
    answers: dict[int, object] = {}

    async def ask(item: int) -> None:
        answers.update(await ask_all(coalescer, [item]))

    with anyio.fail_after(10):
        async with anyio.create_task_group() as callers:
            async with anyio.create_task_group() as serving:
                serving.start_soon(coalescer.run)
                callers.start_soon(ask, 1)
                await anyio.wait_all_tasks_blocked()
                callers.start_soon(ask, 2)
                await anyio.wait_all_tasks_blocked()
                serving.cancel_scope.cancel()
            backend.may_answer.set()

    assert answers == {1: 1, 2: "the gateway is stopping"}


async def test_callers_of_a_shared_call_get_an_error_when_the_gateway_stops() -> None:
    backend = Backend()
    coalescer = Coalescer(backend.call)
    answers: dict[int, object] = {}

    async def ask(items: Sequence[int]) -> None:
        answers.update(await ask_all(coalescer, items))

    with anyio.fail_after(10):
        async with anyio.create_task_group() as callers, anyio.create_task_group() as serving:
            serving.start_soon(coalescer.run)
            backend.may_answer.set()
            callers.start_soon(ask, [1, 2, 3])
            await anyio.wait_all_tasks_blocked()
            backend.may_answer = anyio.Event()
            callers.start_soon(ask, [4, 5])
            await anyio.wait_all_tasks_blocked()
            callers.start_soon(ask, [6])
            await anyio.wait_all_tasks_blocked()
            serving.cancel_scope.cancel()

    assert backend.calls == [[1], [2, 3], [4, 5]]
    assert answers == {1: 1, 2: 4, 3: 9} | dict.fromkeys((4, 5, 6), "the gateway is stopping")


async def test_a_caller_that_is_cancelled_alone_keeps_nobody_from_being_served() -> None:
    backend = Backend()
    coalescer = Coalescer(backend.call)
    answers: dict[int, object] = {}

    async def ask(items: Sequence[int]) -> None:
        answers.update(await ask_all(coalescer, items))

    with anyio.fail_after(10):
        async with anyio.create_task_group() as callers, anyio.create_task_group() as serving:
            serving.start_soon(coalescer.run)
            async with anyio.create_task_group() as alone:
                alone.start_soon(ask, [1])
                await anyio.wait_all_tasks_blocked()
                callers.start_soon(ask, [2, 3])
                await anyio.wait_all_tasks_blocked()
                alone.cancel_scope.cancel()
            await anyio.wait_all_tasks_blocked()
            assert backend.calls == [[1], [2, 3]]
            backend.may_answer.set()
            await anyio.wait_all_tasks_blocked()
            serving.cancel_scope.cancel()

    assert answers == {2: 4, 3: 9}
