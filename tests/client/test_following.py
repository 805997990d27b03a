"""Which events are returned, and when to give up: the rules without a network."""

import random

import msgspec
import pytest
from headrace.errors import NotFound, ProtocolError, Unreachable, WaitTimedOut
from headrace.following import Following
from hypothesis import given
from hypothesis import strategies as st
from shared_schemas.events import Done, Gap, Logged, Reason
from shared_schemas.job import JobState
from shared_schemas.replies import Problem

_STREAM = {"content-type": "text/event-stream; charset=utf-8"}


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def a_following(clock: Clock | None = None, **options: object) -> Following:
    settings = {"after": 0, "patience_s": 60.0, "clock": clock or Clock(), "rng": random.Random(1)} | options
    return Following(**settings)  # type: ignore[arg-type]


def sent(*numbers: int, end: int) -> bytes:
    """The timeline 1 … end as the gateway writes it, but only these numbers."""
    blocks = []
    for n in numbers:
        event = (
            Done(n=n, at=n, attempt=1, state=JobState.SUCCEEDED, reason=Reason.SUCCEEDED)
            if n == end
            else Logged(n=n, at=n, attempt=1, line=f"line {n}")
        )
        data = msgspec.json.encode(event).decode()
        blocks.append(f"id: {n}\nevent: {'done' if n == end else 'log'}\ndata: {data}\n\n")
    return "".join(blocks).encode()


@given(end=st.integers(1, 12), cuts=st.lists(st.integers(0, 3000), max_size=6), overlap=st.integers(0, 3))
def test_however_streams_are_cut_every_event_comes_once_and_in_order(end: int, cuts: list[int], overlap: int) -> None:
    following = a_following()
    got: list[int] = []
    for cut in [*cuts, None]:
        after = int(following.headers()["last-event-id"])
        following.answered(200, _STREAM, b"")
        # A server may go back further than it was asked to.
        stream = sent(*range(max(1, after + 1 - overlap), end + 1), end=end)
        got += [item.n for item in following.receive(stream[:cut])]
        if following.is_over():
            break
        following.cut(None)
        following.pause_s()

    assert got == list(range(1, end + 1))
    assert following.is_over()


def test_a_number_that_is_left_out_is_not_passed_over() -> None:
    following = a_following()
    following.answered(200, _STREAM, b"")

    with pytest.raises(ProtocolError, match="event 2 is missing"):
        following.receive(sent(1, 3, end=9))


def test_a_gap_that_the_gateway_declares_is_handed_on_and_passed() -> None:
    following = a_following()
    following.answered(200, _STREAM, b"")
    gap = b"event: gap\ndata: " + msgspec.json.encode(Gap(requested=1, oldest=5)) + b"\n\n"

    items = following.receive(gap + sent(5, 6, end=6))

    assert [type(item.event).__name__ for item in items] == ["Gap", "Logged", "Done"]
    assert following.is_over()


def test_a_gateway_that_lost_what_was_seen_is_followed_from_where_it_begins_again() -> None:
    following = a_following(after=40)
    following.answered(200, _STREAM, b"")
    gap = b"event: gap\ndata: " + msgspec.json.encode(Gap(requested=40, oldest=1)) + b"\n\n"

    items = following.receive(gap + sent(1, 2, end=2))

    assert [item.n for item in items] == [0, 1, 2]
    assert following.is_over()


def test_a_sort_of_event_that_is_not_known_yet_is_counted_and_kept_as_json() -> None:
    following = a_following()
    following.answered(200, _STREAM, b"")

    [item] = following.receive(b'data: {"n":1,"at":5,"event":"invented-later"}\n\n')

    assert (item.n, item.event) == (1, None)
    assert following.headers()["last-event-id"] == "1"


def test_204_ends_it_at_once() -> None:
    following = a_following(after=7)
    following.answered(204, {}, b"")

    assert following.is_over()


def test_a_problem_that_asking_again_would_not_help_is_raised() -> None:
    problem = Problem(
        type="t",
        title="Not found",
        status=404,
        detail="no such job",
        instance="i",
        code="job_not_found",
        request_id="r",
    )
    with pytest.raises(NotFound, match="no such job"):
        a_following().answered(404, {}, msgspec.json.encode(problem))
    with pytest.raises(NotFound, match="without saying why"):
        a_following().answered(404, {}, b"<html>a proxy's own page</html>")


def test_503_is_asked_again_after_the_time_the_gateway_names() -> None:
    following = a_following()
    following.answered(503, {"retry-after": "4"}, b"")
    following.cut(None)

    assert 4.0 <= following.pause_s() < 5.0


def test_it_gives_up_once_no_byte_came_for_the_patience() -> None:
    clock = Clock()
    following = a_following(clock, patience_s=10.0)
    following.answered(200, _STREAM, b"")
    following.receive(b": alive\n\n")
    clock.now += 3600
    following.cut(OSError("reset"))
    following.pause_s()
    clock.now += 9.9
    following.cut(OSError("refused"))
    following.pause_s()
    clock.now += 0.1

    following.cut(OSError("refused"))
    with pytest.raises(Unreachable, match="refused"):
        following.pause_s()


def test_without_a_patience_it_never_gives_up() -> None:
    clock = Clock()
    following = a_following(clock, patience_s=None)
    following.cut(OSError("refused"))
    clock.now += 1e9
    following.cut(OSError("refused"))

    assert following.pause_s() >= 0


def test_pauses_grow_with_streams_without_events_and_start_again_with_an_event() -> None:
    following = a_following()
    for _ in range(20):
        following.cut(OSError("refused"))
    grown = max(following.pause_s() for _ in range(50))
    following.answered(200, _STREAM, b"")
    following.receive(sent(1, end=9))
    following.cut(None)

    assert 2.0 < grown <= 5.0
    assert max(following.pause_s() for _ in range(50)) <= 0.2


def test_the_deadline_holds_while_events_come_and_while_they_do_not() -> None:
    clock = Clock()
    following = a_following(clock, deadline=clock.now + 5)
    following.answered(200, _STREAM, b"")
    clock.now += 5

    with pytest.raises(WaitTimedOut):
        following.receive(sent(1, end=9))
    with pytest.raises(TimeoutError):
        following.cut(None)


def test_an_answer_that_is_not_a_stream_is_not_taken_for_one() -> None:
    with pytest.raises(ProtocolError):
        a_following().answered(200, {"content-type": "text/html"}, b"")
