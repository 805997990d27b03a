"""The scheduler of a decoder, without a model: which sequences run, where, and in which order."""

from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from inference_worker.engines.decoding.prefixes import PrefixCache
from inference_worker.engines.decoding.scheduler import BLOCK, Move, Scheduler
from inference_worker.engines.decoding.sequence import Sequence, Taken

MAX_ROWS, MAX_READING, CAPACITY = 5, 3, 400


def never(logits: object, position: int) -> Taken:
    raise AssertionError("a scheduler takes no tokens")


def sequence(
    n_prompt: int, n_tokens: int = 8, *, priority: int = 0, deadline: float = 9.0, alone: bool = False
) -> Sequence:
    return Sequence(range(n_prompt), n_tokens, never, priority=priority, deadline=deadline, is_alone=alone)


def a_scheduler(**limits: int) -> Scheduler:
    given_limits = {"max_rows": MAX_ROWS, "max_reading": MAX_READING, "first_reading_slot": 10, "capacity": CAPACITY}
    return Scheduler(**(given_limits | limits))


@dataclass
class Simulation:
    """Does what an engine does, and keeps what is in each slot instead of keys and values."""

    scheduler: Scheduler
    slots: dict[int, list[object]] = field(default_factory=dict)

    def step(self, budget: int = 64, largest_part: int = 128) -> int:
        """-> how many tokens of prompts were read."""
        for each in self.scheduler.admit():
            assert each.slot not in self.slots
            self.slots[each.slot] = []
        step = self.scheduler.step(budget=budget, largest_part=largest_part)
        for part in step.read:
            assert len(self.slots[part.sequence.slot]) == part.start
            assert part.end - part.start > 1 or part.end == 1
            self.slots[part.sequence.slot] += [(part.sequence, n) for n in range(part.start, part.end)]
            part.sequence.n_cached = part.end
            if part.sequence.is_read:
                self.take(part.sequence)
        assert [each.slot for each in step.write] == list(range(len(step.write)))
        for each in step.write:
            assert len(self.slots[each.slot]) == each.n_cached
            self.slots[each.slot].append((each, each.n_cached))
            each.n_cached += 1
            self.take(each)
        return sum(part.end - part.start for part in step.read)

    def take(self, sequence: Sequence) -> None:
        was_read = bool(sequence.tokens)
        sequence.tokens.append(0)
        if len(sequence.tokens) == sequence.max_tokens:
            self.remove(sequence)
        elif not was_read:
            self.move(self.scheduler.join(sequence))

    def remove(self, sequence: Sequence) -> None:
        waited, slot = sequence in self.scheduler.waiting, sequence.slot
        move = self.scheduler.remove(sequence)
        if waited:
            return
        if move is None:
            del self.slots[slot]
        else:
            del self.slots[move.target]
            self.move(move)

    def move(self, move: Move) -> None:
        assert move.target not in self.slots
        assert len(self.slots[move.source]) == move.n_tokens
        self.slots[move.target] = self.slots.pop(move.source)

    def check(self) -> None:
        admitted = self.scheduler.admitted
        assert self.scheduler.n_reserved <= CAPACITY
        assert len(admitted) <= MAX_ROWS
        assert {each.slot for each in admitted} == self.slots.keys()
        for each in admitted:
            assert self.slots[each.slot] == [(each, n) for n in range(each.n_cached)]


@settings(deadline=None)
@given(st.data())
def test_each_sequence_keeps_its_own_cache_and_every_one_ends(data: st.DataObject) -> None:
    simulation, everyone = Simulation(a_scheduler()), list[Sequence]()
    for _ in range(data.draw(st.integers(1, 60))):
        action = data.draw(st.sampled_from(["add", "step", "step", "cancel"]))
        if action == "add":
            new = sequence(
                data.draw(st.integers(1, 150)),
                data.draw(st.integers(1, 30)),
                priority=data.draw(st.integers(0, 2)),
                deadline=data.draw(st.integers(0, 3)),
                alone=data.draw(st.integers(0, 9)) == 0,
            )
            everyone.append(new)
            simulation.scheduler.add(new)
        elif action == "step":
            simulation.step(BLOCK * data.draw(st.integers(1, 8)), BLOCK * data.draw(st.integers(1, 8)))
        else:
            there = [*simulation.scheduler.waiting, *simulation.scheduler.admitted]
            if there:
                left = data.draw(st.sampled_from(there))
                everyone.remove(left)
                simulation.remove(left)
        simulation.check()
    n_steps = 0
    while not simulation.scheduler.is_idle:
        simulation.step(BLOCK, BLOCK)
        simulation.check()
        n_steps += 1
        assert n_steps < 5_000
    assert not simulation.slots
    assert all(len(each.tokens) == each.max_tokens for each in everyone)


def test_a_long_prompt_takes_no_more_of_a_step_than_the_budget_while_others_write() -> None:
    simulation = Simulation(a_scheduler())
    simulation.scheduler.add(sequence(2, 100))
    simulation.step()
    simulation.scheduler.add(sequence(200, 5))
    read = [simulation.step(budget=32) for _ in range(7)]
    assert read == [32] * 6 + [8]


def test_a_prompt_that_delays_nobody_is_read_in_the_largest_parts() -> None:
    simulation = Simulation(a_scheduler())
    simulation.scheduler.add(sequence(200, 5))
    assert [simulation.step(budget=16), simulation.step(budget=16)] == [128, 72]


@pytest.mark.parametrize(("n_prompt", "parts"), [(33, [16, 17]), (34, [16, 16, 2]), (17, [17]), (1, [1])])
def test_no_single_token_is_left_over(n_prompt: int, parts: list[int]) -> None:
    simulation = Simulation(a_scheduler())
    simulation.scheduler.add(sequence(n_prompt))
    assert [simulation.step(BLOCK, BLOCK) for _ in parts] == parts


def test_a_single_token_behind_blocks_is_always_read_with_the_same_neighbours() -> None:
    simulation = Simulation(a_scheduler())
    simulation.scheduler.add(sequence(97))
    assert [simulation.step(128, 128), simulation.step(128, 128)] == [80, 17]


def test_what_does_not_fit_waits_and_is_not_overtaken() -> None:
    scheduler = a_scheduler()
    first, large, small = sequence(150, 50), sequence(200, 150), sequence(10, 10)
    for each in (first, large, small):
        scheduler.add(each)
    assert scheduler.admit() == [first]
    assert scheduler.waiting == [large, small]
    scheduler.remove(first)
    assert scheduler.admit() == [large, small]


def test_what_never_fits_is_refused() -> None:
    scheduler = a_scheduler()
    assert not scheduler.fits(sequence(CAPACITY, 1))
    with pytest.raises(ValueError, match="more cache"):
        scheduler.add(sequence(CAPACITY, 1))
    assert scheduler.is_idle


def test_priority_comes_before_the_deadline_and_that_before_the_arrival() -> None:
    scheduler = a_scheduler(max_rows=4, max_reading=4)
    late, soon, sooner, urgent = sequence(2), sequence(2), sequence(2, deadline=1.0), sequence(2, priority=-1)
    for each in (late, soon, sooner, urgent):
        scheduler.add(each)
    assert scheduler.admit() == [urgent, sooner, late, soon]


def test_an_urgent_prompt_is_read_before_one_that_is_half_read() -> None:
    simulation = Simulation(a_scheduler())
    long, urgent = sequence(150), sequence(20, priority=-1)
    simulation.scheduler.add(long)
    simulation.step(BLOCK, BLOCK)
    simulation.scheduler.add(urgent)
    simulation.step(BLOCK, BLOCK)
    assert (long.n_cached, urgent.n_cached) == (16, 16)


def test_a_sequence_that_must_be_alone_has_no_company() -> None:
    scheduler = a_scheduler()
    before, alone, after = sequence(2), sequence(2, alone=True), sequence(2)
    for each in (before, alone, after):
        scheduler.add(each)
    assert scheduler.admit() == [before]
    scheduler.remove(before)
    assert scheduler.admit() == [alone]
    scheduler.remove(alone)
    assert scheduler.admit() == [after]


def a_block(n: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return np.full((4, 2, BLOCK, 8), n, np.float32)


BLOCK_BYTES = a_block(0).nbytes


def test_equal_beginnings_are_found_up_to_the_first_difference() -> None:
    cache, tokens = PrefixCache(max_bytes=10 * BLOCK_BYTES), list(range(50))
    assert cache.find(tokens) == []
    cache.keep(tokens, [(key, a_block(start)) for start, key in cache.missing(tokens)])
    assert cache.n_bytes == 3 * BLOCK_BYTES
    assert [block[0, 0, 0, 0] for block in cache.find([*tokens[:35], 7, *tokens[36:]])] == [0, 16]
    assert cache.find([7, *tokens[1:]]) == []
    assert list(cache.missing(tokens)) == []


def test_the_last_two_tokens_are_always_read() -> None:
    cache, tokens = PrefixCache(max_bytes=10 * BLOCK_BYTES), list(range(48))
    cache.keep(tokens, [(key, a_block(start)) for start, key in cache.missing(tokens)])
    assert [len(cache.find(tokens[:n])) for n in (2, 17, 18, 33, 34, 48)] == [0, 0, 1, 1, 2, 2]


def test_the_beginnings_take_no_more_memory_than_allowed_and_the_oldest_go_first() -> None:
    cache = PrefixCache(max_bytes=4 * BLOCK_BYTES)
    for text in range(3):
        tokens = [text, *range(35)]
        cache.keep(tokens, [(key, a_block(start)) for start, key in cache.missing(tokens)])
        assert cache.n_bytes <= 4 * BLOCK_BYTES
    assert [len(cache.find([text, *range(40)])) for text in range(3)] == [0, 2, 2]
