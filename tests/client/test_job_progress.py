"""The view of a job, made from its events alone."""

import io

from headrace.job_progress import JobProgress
from headrace.text import duration, number, sparkline
from headrace.views import LiveView, PlainView, view_of
from rich.console import Console
from shared_schemas.events import Done, Emitted, Logged, Measured, Progressed, Reason, StateChanged, StreamEvent
from shared_schemas.job import JobState


def a_training(steps: int = 100, *, step_ms: int = 100) -> list[StreamEvent]:
    events: list[StreamEvent] = [
        StateChanged(n=1, at=1000, state=JobState.QUEUED, reason=Reason.SUBMITTED),
        StateChanged(n=2, at=2000, attempt=1, state=JobState.RUNNING, reason=Reason.CLAIMED, worker="w"),
        Logged(n=3, at=2000, attempt=1, line="reading [bold]data[/]"),
    ]
    for step in range(1, steps + 1):
        at = 2000 + step * step_ms
        events.append(
            Measured(n=len(events) + 1, at=at, attempt=1, split="train", step=step, values={"loss": 1 / step})
        )
        events.append(
            Progressed(n=len(events) + 1, at=at, attempt=1, fraction=step / steps, step=step, total=steps, epoch=1)
        )
    return events


def test_rate_and_time_left_follow_from_the_events_own_clock() -> None:
    progress = JobProgress("j")
    for event in a_training()[:-100]:
        progress.apply(event)

    assert progress.step == 50
    assert progress.steps_per_s() is not None
    assert abs((progress.steps_per_s() or 0) - 10.0) < 0.01
    assert abs((progress.left_s() or 0) - 5.0) < 0.01


def test_a_new_attempt_begins_its_output_and_its_rate_anew() -> None:
    progress = JobProgress("j")
    for event in [*a_training()[:20], Emitted(n=21, at=3000, attempt=1, chunk="old")]:
        progress.apply(event)

    progress.apply(StateChanged(n=22, at=9000, attempt=2, state=JobState.RUNNING, reason=Reason.CLAIMED, worker="x"))
    progress.apply(Emitted(n=23, at=9100, attempt=2, chunk="new"))

    assert progress.outputs == {0: "new"}
    assert progress.steps_per_s() is None


def test_the_loss_curve_stays_bounded_and_keeps_its_ends() -> None:
    progress = JobProgress("j")
    for event in a_training(5000, step_ms=1):
        progress.apply(event)

    assert 100 < len(progress.losses) < 512
    assert progress.losses[0] == 1.0
    assert progress.losses[-1] < 0.001


def test_a_pipe_gets_plain_lines_without_control_characters() -> None:
    file = io.StringIO()
    console = Console(file=file, width=200)
    with view_of("j", console) as view:
        for event in a_training():
            view.show(event)
        view.show(Done(n=999, at=99_000, state=JobState.SUCCEEDED, reason=Reason.SUCCEEDED))

    written = file.getvalue()
    assert isinstance(view, PlainView)
    assert "\x1b" not in written
    assert "reading [bold]data[/]" in written
    assert "100% · step 100/100" in written
    assert len(written.splitlines()) < 20


def test_a_terminal_gets_bar_curve_and_log() -> None:
    file = io.StringIO()
    console = Console(file=file, width=100, force_terminal=True, color_system=None)
    with view_of("j", console, title="training wine") as view:
        for event in a_training():
            view.show(event)

    written = file.getvalue()
    assert isinstance(view, LiveView)
    assert "step 100/100" in written
    assert "█▃▂▂▁▁" in written
    assert "reading [bold]data[/]" in written


def at_width(width: int, events: list[StreamEvent], *, title: str = "j", after_s: float = 0.0) -> str:
    """The text on a terminal so many seconds after the last event."""
    now = [100.0]
    console = Console(file=io.StringIO(), width=width, height=40, force_terminal=True, color_system=None)
    view = LiveView(JobProgress(title), title, console, clock=lambda: now[0])
    for event in events:
        view.show(event)
    now[0] += after_s
    shown = Console(file=io.StringIO(), width=width, color_system=None)
    shown.print(view)
    return shown.file.getvalue()  # type: ignore[attr-defined]


def test_the_time_passes_while_nothing_happens_and_stands_still_at_the_end() -> None:
    so_far = a_training()[:3]
    done = Done(n=4, at=12_000, attempt=1, state=JobState.SUCCEEDED, reason=Reason.SUCCEEDED)

    assert "running  0 ms" in at_width(80, so_far)
    assert "running  7.5 s" in at_width(80, so_far, after_s=7.5)
    assert "succeeded  10.0 s" in at_width(80, [*so_far, done], after_s=7.5)


def test_eighty_columns_show_the_time_gone_and_left_and_the_rate() -> None:
    title = "training-large-01arz3ndektsv4rrffq69g5fav"
    events = a_training(100_000, step_ms=100)[:20_003]
    headline, progress, *_ = at_width(80, events, title=title).splitlines()

    assert len(progress.rstrip()) <= 80
    for part in ("10%", "step 10000/100000", "2 h 30 min left", "10 steps/s", "━"):
        assert part in progress
    assert title in headline
    assert "16 min 40 s" in headline


def test_of_several_texts_none_is_left_on_the_screen_for_the_result_has_them_whole() -> None:
    made = [Emitted(n=n, at=2000, attempt=1, chunk="word " * 40, index=n % 2) for n in (4, 5)]
    done = Done(n=6, at=12_000, attempt=1, state=JobState.SUCCEEDED, reason=Reason.SUCCEEDED)

    one, several = [*a_training()[:3], made[0]], [*a_training()[:3], *made]

    assert at_width(80, [*one, done]).count("word") == 40
    assert "word" in at_width(80, several)
    assert "word" not in at_width(80, [*several, done])


def test_a_sparkline_goes_from_lowest_to_highest_within_its_width() -> None:
    assert sparkline([3, 2, 1, 0], width=4) == "█▆▃▁"
    assert sparkline([1, 1, 1], width=10) == "▁▁▁"
    assert len(sparkline(list(range(1000)), width=40)) == 40
    assert sparkline([0, 1], width=2, ascii_only=True) == "_@"
    assert sparkline([], width=5) == ""


def test_numbers_and_times_are_short() -> None:
    assert [number(v) for v in (None, 3.0, 0.123456, 12345.6)] == ["n/a", "3", "0.1235", "12,346"]
    assert [duration(s) for s in (None, 0.25, 61.0, 125, 7300)] == ["-", "250 ms", "61.0 s", "2 min 05 s", "2 h 01 min"]
