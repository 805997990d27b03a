"""Which waiting items form the next batch, for any order of arrivals."""

import hypothesis.strategies as st
import pytest
from hypothesis import given
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from inference_worker.engines.batcher import Batcher, BatchLimits, Part, halves, n_rows_of

SHAPES = {"small": 3, "middle": 16, "large": 70}


class Item:
    """next_row: the first that was in no batch yet."""

    def __init__(self, number: int, shape: str, rows: int = 1) -> None:
        self.number, self.shape, self.rows, self.next_row = number, shape, rows, 0
        self.cancelled = False

    @property
    def left(self) -> int:
        return self.rows - self.next_row


def filled(batcher: Batcher[Item], shape: str, *rows: int, now: float = 0.0) -> list[Item]:
    """Items of so many rows each."""
    items = [Item(number, shape, n) for number, n in enumerate(rows)]
    for item in items:
        batcher.append(item, shape=shape, elements=SHAPES[shape], now=now, rows=item.rows)
    return items


def items_of(parts: list[Part[Item]]) -> list[Item]:
    """Of a batch whose items have one row each."""
    assert all((part.first, part.end) == (0, 1) for part in parts)
    return [part.item for part in parts]


class BatcherRules(RuleBasedStateMachine):
    """Items are appended, cancelled and taken in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.limits = BatchLimits(max_batch=4, max_elements=64, max_wait_ms=1000)
        self.batcher: Batcher[Item] = Batcher(self.limits)
        self.now = 0.0
        self.waiting: dict[str, list[tuple[float, Item]]] = {shape: [] for shape in SHAPES}
        self.n_items = 0

    @rule(shape=st.sampled_from(sorted(SHAPES)), later=st.floats(0.0, 2.0), rows=st.sampled_from([1, 1, 1, 2, 3, 9]))
    def append(self, shape: str, later: float, rows: int) -> None:
        self.now += later
        item = Item(self.n_items, shape, rows)
        self.n_items += 1
        self.waiting[shape].append((self.now, item))
        self.batcher.append(item, shape=shape, elements=SHAPES[shape], now=self.now, rows=rows)

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
                self.rows(shape) < self.room(shape) and self.now < items[0][0] + 1.0
                for shape, items in self.waiting.items()
                if items
            )
            return
        [shape] = {part.item.shape for part in batch}
        n_rows = n_rows_of(batch)
        assert n_rows == min(self.room(shape), self.rows(shape))
        assert n_rows == 1 or n_rows * SHAPES[shape] <= self.limits.max_elements
        if only_full:
            assert n_rows == self.room(shape)
        arrived = {id(item): at for at, item in self.waiting[shape]}
        assert arrived[id(batch[0].item)] == self.waiting[shape][0][0], "one that came later went first"
        for part in batch:
            assert part.first == part.item.next_row < part.end <= part.item.rows
            part.item.next_row = part.end
        taken = {id(part.item) for part in batch}
        untouched = [(at, item) for at, item in self.waiting[shape] if id(item) not in taken]
        if untouched:
            turn = max(1, self.room(shape) // 4)
            assert all(part.n_rows <= turn for part in batch), "one had more than its turn although others waited"
        self.waiting[shape] = untouched + [(self.now, part.item) for part in batch if part.item.left]

    @invariant()
    def the_wait_ends_when_a_batch_is_ready(self) -> None:
        wait_s = self.batcher.wait_s(self.now)
        assert (wait_s is None) == (not any(self.waiting.values()))
        if wait_s is not None:
            ready = [items[0][0] + 1.0 for items in self.waiting.values() if items]
            is_any_full = any(self.rows(shape) >= self.room(shape) for shape in SHAPES)
            assert wait_s == pytest.approx(0.0 if is_any_full else max(0.0, min(ready) - self.now))

    def teardown(self) -> None:
        left = self.batcher.drain()
        assert sorted(item.number for item in left) == sorted(
            item.number for items in self.waiting.values() for _, item in items
        )

    def room(self, shape: str) -> int:
        return max(1, min(self.limits.max_batch, self.limits.max_elements // SHAPES[shape]))

    def rows(self, shape: str) -> int:
        return sum(item.left for _, item in self.waiting[shape])


TestBatcherRules = BatcherRules.TestCase


@given(n=st.integers(1, 40))
def test_without_a_wait_a_batch_is_what_is_already_waiting(n: int) -> None:
    batcher: Batcher[Item] = Batcher(BatchLimits(max_batch=16, max_elements=1000))
    items = filled(batcher, "small", *[1] * n)

    assert items_of(batcher.next_batch(0.0)) == items[:16]


def test_a_batch_that_is_not_full_waits_for_more_items_until_the_limit() -> None:
    batcher: Batcher[Item] = Batcher(BatchLimits(max_batch=16, max_elements=1000, max_wait_ms=5))
    items = filled(batcher, "small", 1, 1, now=1.0)

    assert batcher.next_batch(1.004) == []
    assert items_of(batcher.next_batch(1.0 + batcher.wait_s(1.0))) == items


def test_a_full_batch_does_not_wait() -> None:
    batcher: Batcher[Item] = Batcher(BatchLimits(max_batch=4, max_elements=1000, max_wait_ms=5))
    items = filled(batcher, "small", 1, 1, 1, 1)

    assert batcher.wait_s(0.0) == 0.0
    assert items_of(batcher.next_batch(0.0, only_full=True)) == items


def test_a_row_larger_than_the_budget_runs_alone() -> None:
    batcher: Batcher[Item] = Batcher(BatchLimits(max_batch=4, max_elements=64))
    items = filled(batcher, "large", 1, 1)

    assert [items_of(batcher.next_batch(0.0)), items_of(batcher.next_batch(0.0))] == [[items[0]], [items[1]]]


def test_the_shape_that_has_waited_longest_goes_first() -> None:
    batcher: Batcher[Item] = Batcher(BatchLimits())
    [late] = filled(batcher, "small", 1, now=1.0)
    filled(batcher, "middle", 1, 1, 1, now=2.0)

    assert items_of(batcher.next_batch(3.0)) == [late]


def test_cancelled_items_do_not_fill_a_batch() -> None:
    batcher: Batcher[Item] = Batcher(BatchLimits(max_batch=4, max_elements=1000, max_wait_ms=1000))
    items = filled(batcher, "small", 1, 1, 1, 1)
    items[1].cancelled = True

    assert batcher.next_batch(0.0) == []
    assert items_of(batcher.next_batch(1.0)) == [items[0], items[2], items[3]]


def test_a_single_row_is_in_the_next_batch_however_long_the_lists_before_it() -> None:
    batcher: Batcher[Item] = Batcher(BatchLimits(max_batch=16, max_elements=1000))
    lists = filled(batcher, "small", 4096, 4096)
    batcher.next_batch(0.0)
    [single] = filled(batcher, "small", 1, now=1.0)

    batch = batcher.next_batch(1.0)

    assert (single in [part.item for part in batch], n_rows_of(batch)) == (True, 16)
    assert {part.item for part in batch} == {*lists, single}


def test_a_long_list_does_not_starve_another_shape() -> None:
    batcher: Batcher[Item] = Batcher(BatchLimits(max_batch=4, max_elements=1000))
    [long_list] = filled(batcher, "small", 4096)
    [other] = filled(batcher, "middle", 1, now=0.5)

    batches = [batcher.next_batch(now) for now in (1.0, 2.0, 3.0)]

    assert [part.item for batch in batches for part in batch] == [long_list, other, long_list]


def test_a_cancelled_list_ends_after_the_batch_it_is_in() -> None:
    batcher: Batcher[Item] = Batcher(BatchLimits(max_batch=4, max_elements=1000))
    [long_list] = filled(batcher, "small", 4096)
    assert batcher.next_batch(0.0) == [Part(long_list, 0, 4)]
    long_list.cancelled = True

    assert (batcher.next_batch(1.0), batcher.wait_s(1.0), batcher.drain()) == ([], None, [])


@given(ends=st.lists(st.integers(1, 9), min_size=1, max_size=6))
def test_a_batch_in_halves_has_each_row_once_and_in_order(ends: list[int]) -> None:
    parts = [Part(Item(number, "small", end + 2), 2, 2 + end) for number, end in enumerate(ends)]
    if n_rows_of(parts) < 2:
        return

    before, after = halves(parts)

    rows = [(part.item.number, place) for part in parts for place in range(part.first, part.end)]
    assert [(part.item.number, place) for part in (*before, *after) for place in range(part.first, part.end)] == rows
    assert n_rows_of(before) == len(rows) // 2
