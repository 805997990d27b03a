"""How a program that uses Headrace tests itself: with a real gateway, and workers that answer what
the test says."""

from collections.abc import Iterator

import pytest
from headrace import JobFailed, JobState, Progressed, StateChanged
from headrace.testing import TestSystem, fail, retry, running_test_system, succeed


@pytest.fixture(scope="module")
def headrace() -> Iterator[TestSystem]:
    with running_test_system() as system:
        system.publish("spam-filter")
        yield system


def test_an_answer_is_read(headrace: TestSystem) -> None:
    headrace.inference.answer(succeed({"label": "spam"}))

    job = headrace.client.submit_inference(model_id="spam-filter", input_data="win a prize")

    assert headrace.client.result(job.job_id, timeout_s=30) == {"label": "spam"}


def test_a_failure_has_its_message(headrace: TestSystem) -> None:
    headrace.inference.answer(fail("out_of_memory", "the input is too long"))

    job = headrace.client.submit_inference(model_id="spam-filter", input_data="win a prize")

    with pytest.raises(JobFailed, match="the input is too long"):
        headrace.client.result(job.job_id, timeout_s=30)


def test_an_attempt_with_a_retryable_error_is_tried_again(headrace: TestSystem) -> None:
    headrace.inference.answer(retry("device_busy", "no memory is free"), succeed("done"))

    job = headrace.client.submit_inference(model_id="spam-filter", input_data="hello")

    assert headrace.client.result(job.job_id, timeout_s=30) == "done"
    assert [attempt.number for attempt in headrace.client.attempts(job.job_id)] == [1, 2]


def test_progress_is_received_while_the_job_runs(headrace: TestSystem) -> None:
    half = Progressed(fraction=0.5)
    headrace.training.answer(succeed(events=[half]))

    job = headrace.client.submit_training(model_type="mlp", data_path="wine.csv")

    event = headrace.wait_for(job.job_id, lambda event: isinstance(event, Progressed))
    assert event.fraction == 0.5


def test_a_job_is_cancelled_while_it_runs(headrace: TestSystem) -> None:
    job = headrace.client.submit_inference(model_id="spam-filter", input_data="hello")
    headrace.wait_for(job.job_id, lambda event: isinstance(event, StateChanged) and event.state is JobState.RUNNING)

    headrace.client.cancel(job.job_id)

    assert headrace.client.wait(job.job_id, timeout_s=30).state is JobState.CANCELLED
