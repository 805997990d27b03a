"""Job ids and queue names: what follows from them, and what is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from shared_schemas.errors import MalformedId
from shared_schemas.ids import (
    QueueName,
    is_job_id,
    job_ids_from,
    kind_of,
    new_job_id,
    parse_job_id,
    parse_queue,
    queue_of,
    ulid_of,
)
from shared_schemas.kinds import JobKind

queues = st.from_regex(r"(training|inference)(-[a-z0-9]{1,24}){0,2}(\.[0-9]{1,3})?", fullmatch=True).map(QueueName)
moments = st.integers(0, 2**48 - 1)
entropies = st.binary(min_size=10, max_size=10)


@given(queues, moments, entropies)
def test_an_id_carries_its_queue_and_kind(queue: QueueName, now_ms: int, entropy: bytes) -> None:
    job_id = new_job_id(queue, now_ms=now_ms, entropy=entropy)

    assert parse_job_id(job_id) == job_id
    assert queue_of(job_id) == queue
    assert kind_of(job_id) is JobKind(queue.split("-")[0].split(".")[0])


@given(queues, moments, moments, entropies, entropies)
def test_ids_of_a_queue_sort_by_time(queue: QueueName, one: int, other: int, a: bytes, b: bytes) -> None:
    first = new_job_id(queue, now_ms=min(one, other), entropy=a)
    second = new_job_id(queue, now_ms=max(one, other), entropy=b)

    if one != other:
        assert first < second
        assert ulid_of(first) < ulid_of(second)


@given(queues, st.integers(0, 2**47), st.binary(min_size=10, max_size=10))
def test_ids_that_follow_one_are_new_and_sort_after_it(queue: QueueName, now_ms: int, entropy: bytes) -> None:
    first = new_job_id(queue, now_ms=now_ms, entropy=entropy)

    ids = job_ids_from(first, 40)

    assert ids[0] == first
    assert ids == sorted(set(ids))
    assert all(parse_job_id(job_id) == job_id and queue_of(job_id) == queue for job_id in ids)


@given(st.text(max_size=64))
def test_what_is_not_an_id_is_refused(text: str) -> None:
    if is_job_id(text):
        assert parse_job_id(text) == text
    else:
        with pytest.raises(MalformedId):
            parse_job_id(text)


@pytest.mark.parametrize(
    "name",
    ["", "train", "Training", "training-", "training-A", "inference.", "inference.1234", "inference-a-b-c", "{x}"],
)
def test_a_queue_is_named_after_its_kind(name: str) -> None:
    with pytest.raises(MalformedId):
        parse_queue(name)
