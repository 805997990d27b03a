"""Which waiting items form the next batch, for any order of arrivals."""

import hypothesis.strategies as st
import pytest
from hypothesis import given
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from inference_worker.engines.batcher import Batcher, BatchLimits

SHAPES = {"small": 3, "middle": 16, "large": 70}


class Item:
    def __init__(self, number: int, shape: str) -> None:
        self.number = number
        self.shape = shape
        self.cancelled = False


def filled(batcher: Batcher[Item], shape: str, n: int, *, now: float = 0.0) -> list[Item]:
    items = [Item(number, shape) for number in range(n)]
    for item in items:
        batcher.append(item, shape=shape, elements=SHAPES[shape], now=now)
    return items


class BatcherRules(RuleBasedStateMachine):
    """Items are appended, cancelled and taken in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.limits = BatchLimits(max_batch=4, max_elements=64, max_wait_ms=1000)
        self.batcher: Batcher[Item] = Batcher(self.limits)
        self.now = 0.0
        self.waiting: dict[str, list[tuple[float, Item]]] = {shape: [] for shape in SHAPES}
        self.n_items = 0

    @rule(shape=st.sampled_from(sorted(SHAPES)), later=st.floats(0.0, 2.0))
    def append(self, shape: str, later: float) -> None:
        self.now += later
        item = Item(self.n_items, shape)
        self.n_items += 1
        self.waiting[shape].append((self.now, item))
        self.batcher.append(item, shape=shape, elements=SHAPES[shape], now=self.now)

    @precondition(lambda self: any(self.waiting.values()))
    @rule(choice=st.randoms(use_true_random=False))
    def cancel(self, choice) -> None:
        shape = choice.choice([shape for shape, items in self.waiting.items() if items])
        _, item = self.waiting[shape].pop(choice.randrange(len(self.waiting[shape])))
        item.cancelled = True

    @rule(only_full=st.booleans(), later=st.floats(0.0, 2.0))
    def take(self, only_full: bool, later: float) -> None:
        self.now += later
        batch = self.batcher.next_batch(self.now, only_full=only_full)
        if not batch:
            assert only_full or all(
                len(items) < self.room(shape) and self.now < items[0][0] + 1.0
                for shape, items in self.waiting.items()
                if items
            )
            return
        [shape] = {item.shape for item in batch}
        expected = [item for _, item in self.waiting[shape][: self.room(shape)]]
        assert batch == expected
        assert len(batch) == 1 or len(batch) * SHAPES[shape] <= self.limits.max_elements
        if only_full:
            assert len(batch) == self.room(shape)
        del self.waiting[shape][: len(batch)]

    @invariant()
    def the_wait_ends_when_a_batch_is_ready(self) -> None:
        wait_s = self.batcher.wait_s(self.now)
        assert (wait_s is None) == (not any(self.waiting.values()))
        if wait_s is not None:
            ready = [items[0][0] + 1.0 for items in self.waiting.values() if items]
            is_any_full = any(len(items) >= self.room(shape) for shape, items in self.waiting.items())
            assert wait_s == pytest.approx(0.0 if is_any_full else max(0.0, min(ready) - self.now))

    def teardown(self) -> None:
        left = self.batcher.drain()
        assert sorted(item.number for item in left) == sorted(
            item.number for items in self.waiting.values() for _, item in items
        )

    def room(self, shape: str) -> int:
        return max(1, min(self.limits.max_batch, self.limits.max_elements // SHAPES[shape]))


TestBatcherRules = BatcherRules.TestCase


@given(n=st.integers(1, 40))
def test_without_a_wait_a_batch_is_what_is_already_waiting(n: int) -> None:
    batcher: Batcher[Item] = Batcher(BatchLimits(max_batch=16, max_elements=1000))
    items = filled(batcher, "small", n)

    assert batcher.next_batch(0.0) == items[:16]


def test_a_batch_that_is_not_full_waits_for_more_items_until_the_limit() -> None:
    batcher: Batcher[Item] = Batcher(BatchLimits(max_batch=16, max_elements=1000, max_wait_ms=5))
    items = filled(batcher, "small", 2, now=1.0)

    assert batcher.next_batch(1.004) == []
    assert batcher.next_batch(1.0 + batcher.wait_s(1.0)) == items


def test_a_full_batch_does_not_wait() -> None:
    batcher: Batcher[Item] = Batcher(BatchLimits(max_batch=4, max_elements=1000, max_wait_ms=5))
    items = filled(batcher, "small", 4)

    assert batcher.wait_s(0.0) == 0.0
    assert batcher.next_batch(0.0, only_full=True) == items


def test_an_item_larger_than_the_budget_runs_alone() -> None:
    batcher: Batcher[Item] = Batcher(BatchLimits(max_batch=4, max_elements=64))
    items = filled(batcher, "large", 2)

    assert [batcher.next_batch(0.0), batcher.next_batch(0.0)] == [[items[0]], [items[1]]]


def test_the_shape_that_has_waited_longest_goes_first() -> None:
    batcher: Batcher[Item] = Batcher(BatchLimits())
    [late] = filled(batcher, "small", 1, now=1.0)
    filled(batcher, "middle", 3, now=2.0)

    assert batcher.next_batch(3.0) == [late]


def test_cancelled_items_do_not_fill_a_batch() -> None:
    batcher: Batcher[Item] = Batcher(BatchLimits(max_batch=4, max_elements=1000, max_wait_ms=1000))
    items = filled(batcher, "small", 4)
    items[1].cancelled = True

    assert batcher.next_batch(0.0) == []
    assert batcher.next_batch(1.0) == [items[0], items[2], items[3]]
