"""Every error of the client can be pickled, and is the same afterwards."""

import copy
import multiprocessing
import pickle
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from typing import Any

import headrace
import msgspec
import pytest
from headrace.errors import (
    ApiError,
    ClientError,
    JobCancelled,
    JobEnded,
    JobFailed,
    api_error,
)
from shared_schemas.errors import ErrorInfo
from shared_schemas.ids import JobId, QueueName
from shared_schemas.job import Job, JobState
from shared_schemas.kinds import JobKind
from shared_schemas.replies import Problem, ProblemItem
from shared_schemas.specs import InferenceSpec, Priority

PROBLEM = Problem(
    type="about:blank", title="Not here", status=404, detail="there is no such job", instance="/jobs/x",
    code="job_not_found", request_id="r1", errors=(ProblemItem(pointer="/a", code="c", detail="d"),),
)  # fmt: skip
JOB = Job(
    id=JobId("inference-01kav000000000000000000000"),
    kind=JobKind.INFERENCE,
    queue=QueueName("inference"),
    state=JobState.FAILED,
    priority=Priority.NORMAL,
    spec=InferenceSpec(model_id="m", input_data=[1]),
    created_at=datetime(2030, 1, 1, tzinfo=UTC),
    result=msgspec.Raw(b'{"a":1}'),
    error=ErrorInfo(code="no_good", message="this cannot work"),
)
CLASSES = sorted(
    (
        value
        for name in headrace.__all__
        if isinstance(value := getattr(headrace, name), type) and issubclass(value, Exception)
    ),
    key=lambda kind: kind.__name__,
)


def an_error(kind: type[ClientError]) -> ClientError:
    if issubclass(kind, ApiError):
        return kind(404, PROBLEM, retry_after_s=2.5)
    if issubclass(kind, JobEnded):
        return kind(JOB)
    return kind("what was wrong")


def pickled(error: ClientError) -> ClientError:
    return pickle.loads(pickle.dumps(error))  # type: ignore[no-any-return]  # noqa: S301


def facts_of(error: BaseException) -> tuple[Any, ...]:
    attributes = {name: repr(value) for name, value in vars(error).items()}
    return type(error), str(error), repr(error), error.args, attributes, getattr(error, "code", None)


def raising(kind: type[ClientError]) -> None:
    raise an_error(kind)


def test_every_error_is_in_the_table() -> None:
    def below(kind: type[ClientError]) -> set[type[ClientError]]:
        return {kind}.union(*map(below, kind.__subclasses__()))

    assert {kind for kind in below(ClientError) if kind.__module__.startswith("headrace")} == set(CLASSES)


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("through", [pickled, copy.copy, copy.deepcopy])
def test_an_error_survives_being_copied(kind: type[ClientError], through: Callable[[ClientError], ClientError]) -> None:
    error = an_error(kind)
    error.add_note("seen at noon")

    again = through(error)

    assert facts_of(again) == facts_of(error)
    assert again is not error


def test_every_error_comes_out_of_a_process_pool_and_the_pool_goes_on() -> None:
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        for kind in CLASSES:
            error = pool.submit(raising, kind).exception(timeout=60)
            assert error is not None
            assert facts_of(error)[:4] == facts_of(an_error(kind))[:4]
        assert pool.submit(len, "ok").result(timeout=60) == 2


class OfACaller(JobFailed):
    """Like a subclass of a caller: with arguments of its own."""

    def __init__(self, job: Job, *, shop: str) -> None:
        super().__init__(job)
        self.shop = shop


def test_an_error_of_a_callers_own_survives_too() -> None:
    again = pickled(OfACaller(JOB, shop="here"))

    assert isinstance(again, OfACaller)
    assert (again.shop, again.job, again.error) == ("here", JOB, JOB.error)


def test_an_answer_that_is_no_problem_survives() -> None:
    assert facts_of(pickled(api_error(502, b"<html>"))) == facts_of(api_error(502, b"<html>"))


def test_a_cancelled_job_has_an_error_of_its_own() -> None:
    assert isinstance(pickled(JobCancelled(JOB)), JobCancelled)
