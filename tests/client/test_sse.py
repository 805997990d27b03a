"""The parser follows the WHATWG rules, however the bytes are split."""

from itertools import pairwise

import pytest
from headrace.errors import ProtocolError
from headrace.sse import ServerSentEvent, SseParser
from hypothesis import given
from hypothesis import strategies as st

_LINE_ENDS = st.sampled_from(["\n", "\r", "\r\n"])
# Whatever a line may hold: anything but its own ends.
_VALUES = st.text(st.characters(exclude_characters="\r\n", exclude_categories=("Cs",)), max_size=20)
_LINES = st.one_of(
    st.builds(lambda value: f"data: {value}", _VALUES),
    st.builds(lambda value: f"data:{value}", _VALUES),
    st.builds(lambda value: f"event: {value}", _VALUES),
    st.builds(lambda value: f"id: {value}", _VALUES),
    st.builds(lambda value: f"retry: {value}", st.one_of(_VALUES, st.integers(0, 9999).map(str))),
    st.builds(lambda value: f":{value}", _VALUES),
    st.builds(lambda name, value: f"{name}: {value}", st.sampled_from(["Data", "x", " data"]), _VALUES),
    st.just("data"),
    st.just(""),
    st.just(""),
)


def parsed(stream: bytes) -> list[ServerSentEvent]:
    return SseParser().feed(stream)


def reference(text: str) -> list[ServerSentEvent]:
    """The rules again, over the whole stream at once and as slowly as the standard writes them."""
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    data, event, last_id, events = "", "", "", []
    for line in text.split("\n")[:-1]:
        if line == "":
            if data != "":
                events.append(ServerSentEvent(event or "message", data[:-1], last_id))
            data, event = "", ""
            continue
        name, value = line, ""
        if ":" in line:
            name, value = line.split(":", 1)
            value = value[1:] if value.startswith(" ") else value
        if name == "event":
            event = value
        elif name == "data":
            data += value + "\n"
        elif name == "id" and "\0" not in value:
            last_id = value
    return events


@given(
    lines=st.lists(st.tuples(_LINES, _LINE_ENDS), max_size=30), cuts=st.lists(st.integers(0, 2000)), bom=st.booleans()
)
def test_any_split_of_any_stream_gives_what_the_standard_says(
    lines: list[tuple[str, str]], cuts: list[int], bom: bool
) -> None:
    text = ("\ufeff" if bom else "") + "".join(line + end for line, end in lines)
    stream = text.encode()
    edges = sorted({0, len(stream), *(cut % (len(stream) + 1) for cut in cuts)})
    parser = SseParser()

    events = [event for a, b in pairwise(edges) for event in parser.feed(stream[a:b])]

    assert events == reference(text)


@given(cuts=st.lists(st.integers(0, 100)))
def test_a_character_split_between_chunks_is_whole_again(cuts: list[int]) -> None:
    stream = "\ufeffdata: ünïcödé ✓ 漢字 🚀\r\n\r\n".encode()
    edges = sorted({0, len(stream), *(cut % len(stream) for cut in cuts)})
    parser = SseParser()

    [event] = [event for a, b in pairwise(edges) for event in parser.feed(stream[a:b])]

    assert event.data == "ünïcödé ✓ 漢字 🚀"


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        ("data: YHOO\ndata: +2\ndata: 10\n\n", [("message", "YHOO\n+2\n10", "")]),
        (": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n",
         [("message", "first event", "1"), ("message", "second event", ""), ("message", " third event", "")]),
        ("data\n\ndata\ndata\n\ndata:", [("message", "", ""), ("message", "\n", "")]),
        ("data:test\n\ndata: test\n\n", [("message", "test", ""), ("message", "test", "")]),
    ],
)  # fmt: skip
def test_the_examples_of_the_standard(stream: str, expected: list[tuple[str, str, str]]) -> None:
    assert parsed(stream.encode()) == [ServerSentEvent(*values) for values in expected]


def test_an_event_without_its_blank_line_is_not_given() -> None:
    parser = SseParser()

    assert parser.feed(b"id: 4\ndata: half") == []
    assert parser.feed(b"\n") == []
    assert parser.feed(b"\n") == [ServerSentEvent("message", "half", "4")]


def test_an_id_with_nul_is_ignored_and_an_id_outlives_its_event() -> None:
    events = parsed(b"id: 1\ndata: a\n\nid: x\0y\ndata: b\n\ndata: c\n\nid:\ndata: d\n\n")

    assert [event.id for event in events] == ["1", "1", "1", ""]


def test_an_event_name_does_not_outlive_its_event() -> None:
    assert [event.event for event in parsed(b"event: a\n\ndata: 1\n\n")] == ["message"]


def test_retry_is_taken_from_digits_alone() -> None:
    parser = SseParser()
    parser.feed(b"retry: 2500\n\n")
    parser.feed(b"retry: 1s\nretry: -3\nretry:\n\n")

    assert parser.retry_ms == 2500


def test_bytes_that_are_not_utf8_do_not_end_the_stream() -> None:
    [event] = parsed(b"data: a\xffb\n\n")

    assert event.data == "a\ufffdb"


def test_an_event_without_end_is_refused_before_it_fills_memory() -> None:
    parser = SseParser()
    block = b"data: " + b"x" * (1 << 20) + b"\n"

    for _ in range(63):
        parser.feed(block)

    with pytest.raises(ProtocolError):
        parser.feed(block + block)
