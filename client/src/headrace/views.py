"""Shows a job live: redrawn in place on a terminal, as a line for each important event on a pipe.

Knows events, and not where they come from.
"""

import time
from collections.abc import Callable
from types import TracebackType
from typing import Protocol, Self

import msgspec
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text
from shared_schemas.events import Done, Emitted, Gap, Logged, Measured, Produced, Progressed, StateChanged, StreamEvent

from headrace import text
from headrace.ink import STATE_STYLES
from headrace.ink import Text as Ink
from headrace.job_progress import JobProgress

_LEVEL_STYLES = {"debug": "dim", "info": "", "warning": "yellow", "error": "red"}
_SPARKLINE_WIDTH = 40
_BAR_WIDTH, _LEAST_BAR_WIDTH = 40, 10
# Around the bar: a margin, and a blank on each side.
_BAR_MARGIN = 4
_OUTPUT_LINES = 12
_SHOWN_APART = ("loss", "steps_per_s")
# A pipe gets a line of progress for each tenth of the job, but at most one in this time.
_PLAIN_STEP = 0.1
_PLAIN_EVERY_MS = 1000


class View(Protocol):
    """Use it in `with`, and show each event in order."""

    progress: JobProgress

    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
    def show(self, event: StreamEvent) -> None: ...


def view_of(job_id: str, console: Console, *, title: str | None = None, speed: float = 1.0) -> View:
    """speed: how many times faster the events come than they happened."""
    progress = JobProgress(job_id)
    name = title or job_id
    if console.is_terminal:
        return LiveView(progress, name, console, speed=speed)
    return PlainView(progress, name, console)


class LiveView:
    """clock: measures the time since the newest event, so that the shown time
    passes while no event comes."""

    def __init__(
        self,
        progress: JobProgress,
        title: str,
        console: Console,
        *,
        speed: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.progress, self._title, self._console, self._speed, self._clock = progress, title, console, speed, clock
        self._newest_at = clock()
        self._ascii = "utf" not in console.encoding.lower()
        self._live = Live(
            console=console, get_renderable=lambda: self, refresh_per_second=10, vertical_overflow="visible"
        )

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def show(self, event: StreamEvent) -> None:
        self.progress.apply(event)
        self._newest_at = self._clock()
        line = _line_of(event)
        if line is not None:
            self._console.print(line, soft_wrap=True)

    def __rich__(self) -> RenderableType:
        progress = self.progress
        parts: list[RenderableType] = [self._headline()]
        if progress.fraction or progress.step is not None:
            parts.append(self._progress())
        if progress.losses:
            curve = text.sparkline(progress.losses, width=_SPARKLINE_WIDTH, ascii_only=self._ascii)
            parts.append(
                Text.assemble(
                    ("  loss ", "dim"),
                    (curve.ljust(_SPARKLINE_WIDTH), "cyan"),
                    f"  {text.number(progress.losses[0])} → {text.number(progress.losses[-1])}",
                )
            )
        for split in ("train", "validation", "test"):
            shown = text.metrics(progress.latest.get(split, {}), without=_SHOWN_APART if split == "train" else ())
            if shown:
                parts.append(Text.assemble((f"  {split} ", "dim"), shown, overflow="ellipsis", no_wrap=True))
        parts.extend(self._outputs())
        return Group(*parts)

    def _progress(self) -> RenderableType:
        progress = self.progress
        # The most important comes first, because a narrow terminal cuts the end.
        facts = [f"{progress.fraction:4.0%}"]
        if progress.step is not None:
            facts.append(f"step {progress.step}" + (f"/{progress.total}" if progress.total else ""))
        if progress.left_s() is not None:
            facts.append(f"{text.duration(progress.left_s())} left")
        rate = progress.steps_per_s()
        if rate is not None:
            facts.append(f"{text.number(rate)} steps/s")
        if progress.epoch is not None:
            facts.append(f"epoch {progress.epoch}")
        summary = " · ".join(facts)
        row = Table.grid(padding=(0, 1))
        row.add_row(
            " ",
            ProgressBar(
                total=1.0,
                completed=progress.fraction,
                width=max(_LEAST_BAR_WIDTH, min(_BAR_WIDTH, self._console.width - _BAR_MARGIN - len(summary))),
                complete_style="blue",
                finished_style="green",
            ),
            Text(summary, no_wrap=True, overflow="ellipsis"),
        )
        return row

    def _headline(self) -> Text:
        progress = self.progress
        style = STATE_STYLES.get(progress.state, "")
        facts = [text.duration(self._elapsed_s())] if progress.newest_ms else []
        if progress.message:
            facts.append(progress.message)
        if progress.attempt > 1:
            facts.append(f"attempt {progress.attempt}")
        if progress.worker is not None and progress.done is None:
            facts.append(progress.worker)
        return Text.assemble(
            ("● ", style), (self._title, "bold"), "  ", (progress.state, style), "  ", (" · ".join(facts), "dim"),
            no_wrap=True, overflow="ellipsis",
        )  # fmt: skip

    def _elapsed_s(self) -> float:
        since_s = 0.0 if self.progress.done is not None else self._clock() - self._newest_at
        return self.progress.ran_s() + since_s * self._speed

    def _outputs(self) -> list[RenderableType]:
        outputs, has_ended = self.progress.outputs, self.progress.done is not None
        if not outputs or (has_ended and len(outputs) > 1):
            # Several outputs are shown only in part, and the result has them whole.
            return []
        cursor = "" if has_ended else "▌"
        if len(outputs) == 1:
            # The output of a model must not control the terminal.
            lines = Text(Ink(next(iter(outputs.values())) + cursor).plain, style="green").wrap(
                self._console, max(20, self._console.width - 4)
            )
            tail = lines if has_ended else lines[-_OUTPUT_LINES:]
            return [Text("  │ ", style="dim").append_text(line) for line in tail]
        width = max(20, self._console.width - 10)
        return [
            Text.assemble((f"  {index:>3} ", "dim"), (Ink(text.shortened(made, width)).plain, "green"))
            for index, made in sorted(outputs.items())[-_OUTPUT_LINES:]
        ]


class PlainView:
    def __init__(self, progress: JobProgress, title: str, console: Console) -> None:
        self.progress, self._title, self._console = progress, title, console
        self._shown_fraction, self._shown_at = -1.0, 0
        self._open_output: int | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close_output()

    def show(self, event: StreamEvent) -> None:
        self.progress.apply(event)
        match event:
            case Emitted():
                self._write_chunk(event)
            case Progressed():
                self._show_progress(event)
            case StateChanged():
                self._print(_state_line(event))
            case Done():
                self._print(f"{event.state.value} after {text.duration(self.progress.ran_s())}")
            case _:
                line = _line_of(event)
                if line is not None:
                    self._print(line.plain.strip())

    def _show_progress(self, event: Progressed) -> None:
        due = event.fraction >= self._shown_fraction + _PLAIN_STEP and event.at >= self._shown_at + _PLAIN_EVERY_MS
        if not due and event.fraction < 1.0:
            return
        if self._shown_fraction >= 1.0:
            return
        self._shown_fraction, self._shown_at = event.fraction, event.at
        facts = [f"{event.fraction:.0%}"]
        if event.step is not None:
            facts.append(f"step {event.step}" + (f"/{event.total}" if event.total else ""))
        if self.progress.losses:
            facts.append(f"loss {text.number(self.progress.losses[-1])}")
        rate = self.progress.steps_per_s()
        if rate is not None:
            facts.append(f"{text.number(rate)} steps/s")
        if self.progress.left_s() is not None:
            facts.append(f"{text.duration(self.progress.left_s())} left")
        self._print(" · ".join(facts))

    def _write_chunk(self, event: Emitted) -> None:
        if self._open_output != event.index:
            self._close_output()
            self._open_output = event.index
        self._console.print(event.chunk, end="", markup=False, soft_wrap=True)
        self._console.file.flush()

    def _close_output(self) -> None:
        if self._open_output is not None:
            self._console.print()
            self._open_output = None

    def _print(self, line: str) -> None:
        self._close_output()
        self._console.print(f"{self._title}: {line}", markup=False, soft_wrap=True)


def _line_of(event: StreamEvent) -> Ink | None:
    """The line that an event adds above the view; None for most events."""
    match event:
        case Logged():
            dropped = f" (after {event.dropped} lines left out)" if event.dropped else ""
            return Ink.assemble(("  log ", "dim"), (event.line + dropped, _LEVEL_STYLES[event.level]))
        case Measured() if event.split != "train":
            values = text.metrics(event.values)
            return Ink.assemble((f"  {event.split} ", "dim"), f"at step {event.step}: {values}")
        case Produced(model=str(model)):
            return Ink.assemble(("  published ", "dim"), (model, "bold"))
        case StateChanged(error=error) if error is not None:
            return Ink.assemble(("  retry ", "yellow"), f"{error.code}: {error.message}")
        case Gap(requested=requested, oldest=oldest):
            lost = f"events {requested} to {oldest - 1} are no longer kept"
            again = f"the gateway has lost events before {requested + 1}: again from {oldest}"
            return Ink(f"  {lost if oldest > requested else again}", "yellow")
        case _:
            return None


def _state_line(event: StateChanged) -> str:
    worker = f" on {event.worker}" if event.worker else ""
    delay = f", due in {text.duration(event.delay_ms / 1000)}" if event.delay_ms else ""
    error = f": {event.error.message}" if event.error else ""
    return f"{event.state.value} ({event.reason.value}{worker}{delay}){error}"


def readable(event: StreamEvent) -> Ink:
    """One event on one line, for `headrace events`."""
    stamp = Ink(f"{event.n:>6} ", "dim")
    match event:
        case StateChanged():
            body = Ink(_state_line(event), STATE_STYLES.get(event.state.value, ""))
        case Progressed():
            step = "" if event.step is None else f" step {event.step}" + (f"/{event.total}" if event.total else "")
            body = Ink(f"{event.fraction:.1%}{step} {event.message or ''}".rstrip())
        case Measured():
            body = Ink(f"{event.split} step {event.step}: {text.metrics(event.values)}")
        case Emitted():
            body = Ink(f"[{event.index}] {event.chunk!r} {event.finish_reason or ''}".rstrip(), "green")
        case Done():
            error = f" {event.error.code}: {event.error.message}" if event.error else ""
            body = Ink(event.state.value + error, STATE_STYLES.get(event.state.value, ""))
        case _:
            body = _line_of(event) or Ink(msgspec.json.encode(event).decode(), "dim")
            body = Ink(body.plain.strip())
    name = type(event).__struct_config__.tag
    return Ink.assemble(stamp, (f"{name!s:<11}", "bold"), body)
