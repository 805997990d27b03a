"""Wire version 1: bytes that were stored once are read for ever, and read the same."""

from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from shared_schemas import errors
from shared_schemas.codec import (
    WIRE_VERSION,
    decode_event,
    decode_manifest,
    decode_spec,
    encode_event_body,
    encode_json,
)
from shared_schemas.events import Done, Emitted, JobEvent, Reason
from shared_schemas.job import JobState
from shared_schemas.models import BatchingSpec
from shared_schemas.specs import InferenceSpec, TrainingSpec

GOLDEN = Path(__file__).parent / "golden" / f"v{WIRE_VERSION}"
DECODERS = {"event": decode_event, "spec": decode_spec, "manifest": decode_manifest}


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.json")), ids=lambda path: path.stem)
def test_a_stored_shape_is_still_read_and_written_the_same(path: Path) -> None:
    stored = path.read_bytes().strip()

    value = DECODERS[path.stem.split("-")[0]](stored)

    assert msgspec.json.decode(encode_json(value)) == msgspec.json.decode(stored)


def test_a_stored_manifest_may_have_fields_of_a_newer_version_in_its_parts() -> None:
    stored = msgspec.json.decode((GOLDEN / "manifest-table.json").read_bytes())
    batching = {"max_batch": 3, "strategy": "of the future"}

    manifest = decode_manifest(encode_json({**stored, "batching": batching, "colour": "of the future"}))

    assert manifest.batching == BatchingSpec(max_batch=3)
    assert manifest.model_type == stored["model_type"]


def test_every_event_has_a_golden_file() -> None:
    tags = {str(member.__struct_config__.tag) for member in JobEvent.__args__}

    assert {path.stem.removeprefix("event-") for path in GOLDEN.glob("event-*.json")} == tags


@given(st.text(), st.integers(1, 10**9), st.integers(1, 99))
def test_a_body_with_its_stamp_in_front_is_the_event(chunk: str, n: int, attempt: int) -> None:
    stamped = f'{{"n":{n},"at":5,"attempt":{attempt},{encode_event_body(Emitted(chunk=chunk))}'

    assert decode_event(stamped.encode()) == Emitted(chunk=chunk, n=n, at=5, attempt=attempt)


def test_a_result_passes_through_undecoded() -> None:
    body = b'{"n":1,"event":"done","state":"succeeded","reason":"succeeded","result":{"b":1.50,"a":[]}}'

    event = decode_event(body)

    assert isinstance(event, Done)
    assert bytes(event.result) == b'{"b":1.50,"a":[]}'


def test_the_bodies_that_people_send_are_specs_as_they_stand() -> None:
    training = b'{"model_type": "transformer", "data_path": "/data/train.csv"}'
    inference = b'{"model_id": "model_123", "input_data": "sample text"}'

    assert msgspec.json.decode(training, type=TrainingSpec).data_path == "/data/train.csv"
    assert msgspec.json.decode(inference, type=InferenceSpec).input_data == "sample text"


@pytest.mark.parametrize(
    "body",
    [
        b'{"model_type": "mlp", "data_path": "x", "hyperparameters": {"epochs": 0}}',
        b'{"model_type": "mlp", "data_path": "x", "hyperparameters": {"learning_rate": -1}}',
        b'{"model_type": "mlp", "data_path": "x", "hyperparameters": {"batch_size": 2147483648}}',
        b'{"model_type": "mlp", "data_path": ""}',
        b'{"model_type": "../etc", "data_path": "x"}',
        b'{"model_type": "mlp", "data_path": "x", "timeout_s": 0}',
        b'{"model_type": "mlp", "data_path": "x", "run_at": "2026-11-24T10:00:00"}',
        b'{"model_type": "mlp", "data_path": "x", "tags": ["a b"]}',
        b'{"model_type": "mlp", "data_path": "x", "seed": true}',
        b'{"model_type": "mlp", "data_path": "x", "output_model": "A"}',
        b'{"model_type": "mlp", "data_path": "x", "colour": "red"}',
        b'{"kind": "inference", "model_type": "mlp", "data_path": "x"}',
    ],
)
def test_a_body_out_of_bounds_is_refused(body: bytes) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(body, type=TrainingSpec)


def test_error_codes_are_distinct() -> None:
    tree = [
        value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, errors.HeadraceError)
    ]
    codes = [cls.code for cls in tree if "code" in vars(cls)]

    assert len(codes) == len(set(codes)) > 10


def test_an_event_prints_its_result_as_json() -> None:
    done = Done(n=3, state=JobState.SUCCEEDED, reason=Reason.SUCCEEDED, result=msgspec.Raw(b'{"model":"wine@1"}'))

    assert 'result={"model":"wine@1"}, error=None' in repr(done)
    assert repr(done).startswith("Done(n=3, ")
