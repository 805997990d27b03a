"""docs/events.md describes every event, and its examples are events."""

from typing import get_args

import msgspec
import pytest
from shared_schemas.artifacts import ArtifactRef
from shared_schemas.errors import ErrorInfo
from shared_schemas.events import StreamEvent

from tests.support.events_page import COMMAND, EVENTS, PAGE, Described, page


def test_the_page_is_what_the_structs_say() -> None:
    assert PAGE.read_text() == page(), COMMAND


def test_every_event_is_described_once() -> None:
    assert [type(described.example) for described in EVENTS] == list(get_args(StreamEvent))


@pytest.mark.parametrize("described", EVENTS, ids=lambda described: type(described.example).__name__)
def test_an_example_is_read_as_what_it_was(described: Described) -> None:
    assert msgspec.json.decode(msgspec.json.encode(described.example), type=StreamEvent) == described.example


@pytest.mark.parametrize("shape", [ArtifactRef, ErrorInfo])
def test_the_page_names_the_fields_of_the_objects_in_an_event(shape: type[msgspec.Struct]) -> None:
    names = ", ".join(f"`{field.name}`" for field in msgspec.structs.fields(shape))

    assert f"object with {names}" in " ".join(page().split())
