"""The fold that computes the attempts of a job from its timeline."""

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st
from shared_schemas.attempts import AttemptEnd, AttemptSummary, attempts_of
from shared_schemas.errors import ErrorInfo
from shared_schemas.events import Done, Emitted, JobEvent, Measured, Reason, StateChanged
from shared_schemas.lifecycle import TRANSITIONS

ERROR = ErrorInfo(code="disk_full", message="no room", retryable=True)
FINAL = ErrorInfo(code="data_empty", message="no rows", row=3)


class Story:
    """Events as the scripts stamp them, a second apart."""

    def __init__(self) -> None:
        self.events: list[JobEvent] = []
        self._attempt = 0

    def change(self, reason: Reason, *, worker: str | None = None, error: ErrorInfo | None = None) -> "Story":
        self._attempt += reason is Reason.CLAIMED
        state = TRANSITIONS[reason].target
        stamp = {"n": len(self.events) + 1, "at": 1000 * len(self.events), "attempt": self._attempt}
        if state.is_terminal:
            self.events.append(Done(**stamp, state=state, reason=reason, error=error))
        else:
            self.events.append(StateChanged(**stamp, state=state, reason=reason, worker=worker, error=error))
        return self

    def report(self) -> "Story":
        stamp = {"n": len(self.events) + 1, "at": 1000 * len(self.events), "attempt": self._attempt}
        self.events.append(Emitted(**stamp, chunk="x"))
        self.events.append(Measured(**stamp, split="train", step=1, values={"loss": 1.0}))
        return self

    @property
    def attempts(self) -> tuple[AttemptSummary, ...]:
        return attempts_of(self.events)


def second(n: int) -> datetime:
    return datetime.fromtimestamp(n, UTC)


def test_a_job_that_nobody_began_has_no_attempts() -> None:
    assert Story().change(Reason.SUBMITTED).change(Reason.FAILED, error=FINAL).attempts == ()
    assert attempts_of(()) == ()


def test_an_attempt_that_runs_has_a_worker_and_a_start_and_no_end() -> None:
    story = Story().change(Reason.SUBMITTED).change(Reason.CLAIMED, worker="w1").report()

    assert story.attempts == (AttemptSummary(number=1, worker="w1", started_at=second(1)),)


def test_each_attempt_says_how_it_ended_after_how_long_and_why() -> None:
    story = Story().change(Reason.SUBMITTED)
    story.change(Reason.CLAIMED, worker="w1").report().change(Reason.RETRY, error=ERROR).change(Reason.DUE)
    story.change(Reason.CLAIMED, worker="w2").change(Reason.WORKER_LOST)
    story.change(Reason.CLAIMED, worker="w3").change(Reason.RELEASED)
    story.change(Reason.CLAIMED, worker="w1").change(Reason.FAILED, error=FINAL)

    assert [(a.number, a.worker, a.ended, a.error, a.duration_s) for a in story.attempts] == [
        (1, "w1", AttemptEnd.RETRIED, ERROR, 3.0),
        (2, "w2", AttemptEnd.WORKER_LOST, None, 1.0),
        (3, "w3", AttemptEnd.RELEASED, None, 1.0),
        (4, "w1", AttemptEnd.FAILED, FINAL, 1.0),
    ]
    assert (story.attempts[0].started_at, story.attempts[0].finished_at) == (second(1), second(4))


def test_the_end_of_the_job_is_not_the_end_of_an_attempt_that_had_ended_before() -> None:
    poison = Story().change(Reason.SUBMITTED).change(Reason.CLAIMED, worker="w1").change(Reason.WORKER_LOST)
    poison.change(Reason.FAILED, error=FINAL)
    cancelled = Story().change(Reason.SUBMITTED).change(Reason.CLAIMED, worker="w1").change(Reason.RELEASED)
    cancelled.change(Reason.PAUSED).change(Reason.CANCELLED)

    assert [(a.ended, a.error) for a in poison.attempts] == [(AttemptEnd.WORKER_LOST, None)]
    assert [a.ended for a in cancelled.attempts] == [AttemptEnd.RELEASED]


def test_requests_to_an_attempt_do_not_end_it() -> None:
    story = Story().change(Reason.SUBMITTED).change(Reason.CLAIMED, worker="w1")
    story.change(Reason.PAUSE_REQUESTED).change(Reason.PAUSE_WITHDRAWN).change(Reason.CANCEL_REQUESTED)
    assert [a.ended for a in story.attempts] == [None]

    assert [a.ended for a in story.change(Reason.CANCELLED).attempts] == [AttemptEnd.CANCELLED]


def test_a_clock_that_was_set_back_makes_no_negative_duration() -> None:
    story = Story().change(Reason.SUBMITTED).change(Reason.CLAIMED, worker="w1").change(Reason.SUCCEEDED)
    story.events[1] = StateChanged(
        n=2, at=9_000, attempt=1, state=story.events[1].state, reason=Reason.CLAIMED, worker="w1"
    )

    assert [(a.ended, a.duration_s) for a in story.attempts] == [(AttemptEnd.SUCCEEDED, 0.0)]


RUNS = st.lists(st.sampled_from([Reason.RETRY, Reason.RELEASED, Reason.WORKER_LOST]), max_size=8)


@given(RUNS, st.lists(st.booleans(), min_size=9, max_size=9), st.sampled_from([Reason.FAILED, Reason.SUCCEEDED]))
def test_what_attempts_report_changes_nothing_about_them(
    ends: list[Reason], are_chatty: list[bool], last: Reason
) -> None:
    story = Story().change(Reason.SUBMITTED)
    for end, is_chatty in zip([*ends, last], are_chatty, strict=False):
        story.change(Reason.CLAIMED, worker="w")
        if is_chatty:
            story.report()
        story.change(end, error=ERROR if end is Reason.RETRY else None)

    attempts = attempts_of(event for event in story.events if isinstance(event, StateChanged | Done))

    assert attempts == story.attempts
    assert [attempt.number for attempt in attempts] == list(range(1, len(ends) + 2))
    assert all(attempt.ended is not None for attempt in attempts)
