"""An event is encoded once, and its bytes are used again."""

import msgspec
import pytest
from shared_schemas.artifacts import ArtifactRef
from shared_schemas.codec import decode_event, encode_json, encoded, encoded_as
from shared_schemas.events import Checkpointed, Done, Gap, JobEvent, Logged, Measured, Progressed, Reason
from shared_schemas.job import JobState

FILE = ArtifactRef(sha256="0" * 64, n_bytes=1)
EVENTS: list[tuple[JobEvent, str | None]] = [
    (Measured(split="train", step=3, values={"loss": 0.5, "x": None}), "metric:train"),
    (Progressed(fraction=0.5, step=3), "progress"),
    (Checkpointed(step=3, artifact=FILE), "checkpoint"),
    (Logged(line="a line\nand one"), None),
    (Done(state=JobState.SUCCEEDED, reason=Reason.SUCCEEDED), None),
]


@pytest.mark.parametrize(("event", "field"), EVENTS)
def test_the_bytes_of_another_process_are_what_would_have_been_encoded(event: JobEvent, field: str | None) -> None:
    assert encoded_as(encode_json(event), event) == encoded(event)
    assert encoded(event).field == field
    assert decode_event(b"{" + encoded(event).body.encode()) == event


@pytest.mark.parametrize(
    "data",
    [
        b'{"event":"metric","split":"train","step":3,"values":{"loss":0.50,"x":null}}',
        b'{"event":"metric","split":"train","step":3,"values":{"loss":0.5,"x":null},"of_a_newer_version":1}',
    ],
)
def test_the_bytes_of_another_process_stay_as_they_are(data: bytes) -> None:
    event = decode_event(data)
    assert not isinstance(event, Gap)

    assert encoded_as(data, event).body == data[1:].decode()


@pytest.mark.parametrize(
    "data",
    [
        b'{"event":"metric","n":9,"at":8,"attempt":7,"split":"train","step":3,"values":{}}',
        b'{"event":"metric",\n"split":"train","step":3,"values":{}}',
        b'{"event":"metric",\r"split":"train","step":3,"values":{}}',
        b' {"event":"metric","split":"train","step":3,"values":{}}',
        b'{ "event":"metric","split":"train","step":3,"values":{}}',
        b'{"split":"train","step":3,"event":"metric","values":{}}',
    ],
)
def test_bytes_that_would_break_a_line_or_hide_the_stamp_are_encoded_anew(data: bytes) -> None:
    event = decode_event(data)
    assert not isinstance(event, Gap)

    stamped = b'{"n":1,"at":2,"attempt":3,' + encoded_as(data, event).body.encode()
    read = decode_event(stamped)

    assert b"\n" not in stamped
    assert b"\r" not in stamped
    assert read == msgspec.structs.replace(event, n=1, at=2, attempt=3)
