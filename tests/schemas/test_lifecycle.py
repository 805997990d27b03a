"""The state table and the fold."""

import itertools

import pytest
from shared_schemas.errors import StateConflict
from shared_schemas.events import Done, Emitted, Reason, StateChanged
from shared_schemas.ids import JobId
from shared_schemas.job import TERMINAL_STATES, Job, JobState
from shared_schemas.lifecycle import TRANSITIONS, advance, submitted
from shared_schemas.specs import InferenceSpec

JOB_ID = JobId("inference-01arz3ndektsv4rrffq69g5fav")


def a_job(state: JobState) -> Job:
    """A job in that state, with one event behind it."""
    job = advance(submitted(JOB_ID, InferenceSpec(model_id="m", input_data=1)), event(Reason.SUBMITTED, n=1))
    return Job(**{name: getattr(job, name) for name in job.__struct_fields__} | {"state": state})


def event(reason: Reason, *, n: int = 2) -> StateChanged | Done:
    target = TRANSITIONS[reason].target
    if target.is_terminal:
        return Done(n=n, at=1, attempt=1, state=target, reason=reason)
    return StateChanged(n=n, at=1, attempt=1, state=target, reason=reason)


@pytest.mark.parametrize(("state", "reason"), list(itertools.product(JobState, Reason)))
def test_a_job_changes_only_as_the_table_allows(state: JobState, reason: Reason) -> None:
    job = a_job(state)

    if state in TRANSITIONS[reason].sources:
        assert advance(job, event(reason)).state is TRANSITIONS[reason].target
    else:
        with pytest.raises(StateConflict):
            advance(job, event(reason))


def test_nothing_leaves_a_terminal_state() -> None:
    assert all(not (row.sources & TERMINAL_STATES) for row in TRANSITIONS.values())


def test_every_open_state_can_be_left_for_a_terminal_one() -> None:
    reachable = {source: {row.target for row in TRANSITIONS.values() if source in row.sources} for source in JobState}

    for state in set(JobState) - TERMINAL_STATES:
        assert JobState.CANCELLED in reachable[state]


def test_a_missing_number_is_refused() -> None:
    with pytest.raises(StateConflict):
        advance(a_job(JobState.RUNNING), Emitted(n=3, chunk="late"))
