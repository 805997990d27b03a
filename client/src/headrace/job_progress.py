"""The progress of a job, computed from its events. Pure: draws nothing.

Times come from the events, so a replay at another speed gives the same progress.
"""

from collections import deque

from shared_schemas.events import (
    Checkpointed,
    Done,
    Emitted,
    Gap,
    Measured,
    Produced,
    Progressed,
    StateChanged,
    StreamEvent,
)

_MAX_LOSSES = 512
_RATE_WINDOW_MS = 10_000
_MIN_SPAN_MS = 250


class JobProgress:
    """losses: training loss over time, with evenly fewer values if there are many. latest: the
    newest metrics of each split. outputs: the text generated so far for each input. first_ms,
    began_ms, newest_ms: times of the first event, of the start of the present attempt and of the
    newest event, ms by Redis' clock."""

    def __init__(self, job_id: str) -> None:
        self.job_id = job_id
        self.state = "submitted"
        self.attempt = 0
        self.worker: str | None = None
        self.fraction = 0.0
        self.step: int | None = None
        self.total: int | None = None
        self.epoch: int | None = None
        self.message: str | None = None
        self.losses: list[float] = []
        self.latest: dict[str, dict[str, float | None]] = {}
        self.outputs: dict[int, str] = {}
        self.models: list[str] = []
        self.checkpoint_step: int | None = None
        self.done: Done | None = None
        self.first_ms = 0
        self.began_ms = 0
        self.newest_ms = 0
        self._has_missed = False
        self._stride = 1
        self._skipped = 0
        self._marks: deque[tuple[int, float, int]] = deque()

    def apply(self, event: StreamEvent) -> None:
        self.first_ms = self.first_ms or event.at
        self.newest_ms = max(self.newest_ms, event.at)
        match event:
            case StateChanged():
                self._change_state(event)
            case Progressed():
                self._progress(event)
            case Measured():
                self.latest[event.split] = self.latest.get(event.split, {}) | event.values
                loss = event.values.get("loss")
                if event.split == "train" and loss is not None:
                    self._add_loss(loss)
            case Emitted():
                self.outputs[event.index] = self.outputs.get(event.index, "") + event.chunk
            case Checkpointed():
                self.checkpoint_step = event.step
            case Produced(model=str(model)):
                self.models.append(model)
            case Gap(requested=requested, oldest=oldest) if oldest <= requested:
                # The timeline begins again, so these events come again.
                self.losses.clear()
                self.outputs.clear()
                self.models.clear()
            case Gap():
                self._has_missed = True
            case Done():
                self.done, self.state = event, event.state.value
            case _:
                return

    @property
    def shows_whole_text(self) -> bool:
        """Whether the whole output is one text, which a view shows completely."""
        return self.outputs.keys() == {0} and not self._has_missed

    def steps_per_s(self) -> float | None:
        """The rate that the job reports, else the rate of its progress in the last ten seconds."""
        reported = self.latest.get("train", {}).get("steps_per_s")
        if reported is not None:
            return reported
        span = self._span()
        return None if span is None or span[2] <= 0 else span[2] / span[0]

    def left_s(self) -> float | None:
        """How long the job still takes at its recent pace."""
        span = self._span()
        if span is None or span[1] <= 0 or self.fraction >= 1 or self.done is not None:
            return None
        return (1.0 - self.fraction) * span[0] / span[1]

    def ran_s(self) -> float:
        return max(0, self.newest_ms - (self.began_ms or self.first_ms)) / 1000

    def _change_state(self, event: StateChanged) -> None:
        self.state, self.worker = event.state.value, event.worker
        if event.attempt != self.attempt:
            self.attempt, self.began_ms = event.attempt, event.at
            # A new attempt generates its output again.
            self.outputs.clear()
            self._marks.clear()

    def _progress(self, event: Progressed) -> None:
        self.fraction, self.step, self.total = event.fraction, event.step, event.total
        self.epoch, self.message = event.epoch, event.message
        self._marks.append((event.at, event.fraction, event.step or 0))
        while len(self._marks) > 2 and self._marks[0][0] < event.at - _RATE_WINDOW_MS:
            self._marks.popleft()

    def _add_loss(self, loss: float) -> None:
        self._skipped += 1
        if self._skipped < self._stride:
            return
        self._skipped = 0
        self.losses.append(loss)
        if len(self.losses) >= _MAX_LOSSES:
            self.losses = self.losses[::2]
            self._stride *= 2

    def _span(self) -> tuple[float, float, int] | None:
        """-> (seconds, fraction done in that time, steps done in that time); None
        if the time is too short"""
        if len(self._marks) < 2 or self._marks[-1][0] - self._marks[0][0] < _MIN_SPAN_MS:
            return None
        (at, fraction, step), (now, fraction_now, step_now) = self._marks[0], self._marks[-1]
        return (now - at) / 1000, fraction_now - fraction, step_now - step
