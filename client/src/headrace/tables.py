"""Shows what the gateway returns as tables and cards. Results of jobs are in
`answer_lines`. Knows no terminal."""

from collections.abc import Iterable, Sequence

from shared_schemas.attempts import AttemptSummary
from shared_schemas.capabilities import RecipeInfo
from shared_schemas.ids import queue_of
from shared_schemas.job import DeviceUse, Job, JobState, JobSummary, QueueStatus, WorkerStatus
from shared_schemas.models import Model
from shared_schemas.replies import DeadLetter, DeadLetterDetails, JobStatus, RetriedJob

from headrace import text
from headrace.ink import STATE_STYLES, Card, Lines, Text
from headrace.narrow_tables import FittedTable

_END_STYLES = STATE_STYLES | {"retried": "yellow", "worker_lost": "red", "released": "cyan"}


def jobs(rows: Iterable[JobSummary]) -> FittedTable:
    table = FittedTable(
        {"job": None, "state": None, "of": 12, "done": None, "submitted": None, "took": None, "note": 16},
        leave_out=("took", "note", "done", "submitted"),
    )
    for row in rows:
        took = None
        if row.started_at is not None and row.finished_at is not None:
            took = (row.finished_at - row.started_at).total_seconds()
        note = f"{row.error.code}: {row.error.message}" if row.error else " ".join(row.tags)
        table.add(
            row.id,
            state(row.state.value),
            row.subject,
            "" if row.fraction is None else f"{row.fraction:.0%}",
            text.ago(row.created_at),
            "" if took is None else text.duration(took),
            Text(text.shortened(note, 200), style="red" if row.error else "dim"),
        )
    return table


def dead_letters(rows: Sequence[DeadLetter]) -> Lines:
    """Two lines for each. The error code is never cut, because people type it next. The
    message has its own line."""
    cells = [("job", "error", "failed")]
    cells += [(row.id, row.error.code if row.error else "", text.ago(row.finished_at)) for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]

    def line_of(values: Sequence[str], *styles: str) -> Text:
        padded = [value.ljust(width + 2) for value, width in zip(values, widths, strict=True)]
        return Text.assemble(*zip(padded, styles, strict=True))

    lines = [line_of(cells[0], "dim", "dim", "dim")]
    for row, values in zip(rows, cells[1:], strict=True):
        n = row.attempt
        why = text.shortened(row.error.message, 400) if row.error else ""
        facts = f"{row.subject} · {n} attempt{'' if n == 1 else 's'} · {why}"
        lines.append(line_of(values, "bold", "red", ""))
        lines.append(Text(f"  {facts}", style="dim"))
    return Lines(lines)


def dead_letter_table(rows: Iterable[DeadLetter]) -> FittedTable:
    """Dead letters with one line each, where there is room for it."""
    table = FittedTable({"job": None, "of": None, "error": None, "failed": None, "attempts": None, "message": None})
    for row in rows:
        code, message = (row.error.code, row.error.message) if row.error else ("", "")
        table.add(row.id, row.subject, code, text.ago(row.finished_at), str(row.attempt), message)
    return table


def job(row: Job) -> Card:
    card = Card()
    card.add_row("job", Text(row.id, "bold"))
    card.add_row("of", row.spec.headline)
    card.add_row("state", state(row.state.value))
    if row.progress is not None:
        card.add_row("progress", f"{row.progress.fraction:.0%}")
    for split, values in row.metrics.items():
        card.add_row(split, text.metrics(values))
    for name, moment in (("submitted", row.created_at), ("started", row.started_at), ("finished", row.finished_at)):
        if moment is not None:
            card.add_row(name, text.ago(moment))
    if row.error is not None:
        card.add_row("error", Text(f"{row.error.code}: {row.error.message}", "red"))
    elif row.state is JobState.SUCCEEDED:
        card.add_row("result", text.shortened(bytes(row.result).decode(errors="replace"), 400))
    return card


def dead_letter(row: DeadLetterDetails) -> Card:
    card = Card()
    card.add_row("job", Text(row.id, style="bold"))
    card.add_row("of", row.spec.headline)
    if row.error is not None:
        card.add_row("error", Text(f"{row.error.code}: {row.error.message}", style="red"))
        where = [f"{name} {value}" for name, value in (("row", row.error.row), ("column", row.error.column)) if value]
        if where:
            card.add_row("where", Text(", ".join(where)))
    card.add_row("submitted", text.ago(row.created_at))
    card.add_row("failed", text.ago(row.finished_at))
    if row.retry_of is not None:
        card.add_row("retry of", row.retry_of)
    if not row.attempts:
        card.add_row("attempts", "none: it failed before any began")
    return card


def attempts(rows: Sequence[AttemptSummary]) -> FittedTable:
    table = FittedTable(
        {"attempt": None, "worker": 12, "started": None, "took": None, "ended": None, "error": 24},
        leave_out=("started", "took"),
    )
    for row in rows:
        ended = "running" if row.ended is None else row.ended.value
        table.add(
            str(row.number),
            row.worker or "",
            text.ago(row.started_at),
            "" if row.duration_s is None else text.duration(row.duration_s),
            Text(_words(ended), style=_END_STYLES.get(ended, "")),
            Text(f"{row.error.code}: {row.error.message}" if row.error else "", style="red"),
        )
    return table


def retried(rows: Iterable[RetriedJob]) -> FittedTable:
    table = FittedTable({"job": None, "retried as": 20})
    for row in rows:
        error = Text(f"{row.error.code}: {row.error.message}" if row.error else "", style="red")
        table.add(row.job_id, error if row.retried_as is None else row.retried_as)
    return table


def _words(name: str) -> str:
    return name.replace("_", " ")


def models(rows: Iterable[Model]) -> FittedTable:
    table = FittedTable(
        {"model": None, "task": 12, "metrics": 20, "baseline": 14, "parameters": None, "aliases": 8, "published": None},
        leave_out=("parameters", "aliases", "baseline", "task"),
    )
    for row in rows:
        table.add(
            str(row.ref),
            row.manifest.task,
            text.metrics(row.manifest.metrics),
            Text(text.metrics(row.manifest.baseline), style="dim"),
            f"{row.manifest.parameters:,}",
            " ".join(row.aliases),
            text.ago(row.created_at),
        )
    return table


def queues(rows: Iterable[QueueStatus]) -> FittedTable:
    table = FittedTable(
        {"queue": None, "workers": None, "jobs": 20, "dead": None, "jobs/s": None, "oldest queued": None},
        leave_out=("oldest queued", "jobs/s"),
    )
    for row in rows:
        counts = Text(" · ").join(
            Text.assemble(str(row.jobs[value.value]), " ", state(value.value))
            for value in JobState
            if row.jobs.get(value.value)
        )
        oldest = text.ago(row.oldest_queued_at) if row.oldest_queued_at is not None else ""
        pace = "" if row.drain_per_s is None else text.number(row.drain_per_s)
        table.add(row.name, str(row.workers), counts, str(row.dead), pace, oldest)
    return table


def recipes(rows: Iterable[RecipeInfo]) -> FittedTable:
    table = FittedTable({"recipe": None, "trains": 20, "hyperparameters": 20}, leave_out=("hyperparameters", "trains"))
    for row in rows:
        names = ", ".join(row.hyperparameters.get("properties", {}))
        table.add(row.name, row.summary, Text(names, style="dim"))
    return table


def workers(rows: Iterable[WorkerStatus]) -> FittedTable:
    table = FittedTable(
        {
            "worker": None,
            "queue": None,
            "state": None,
            "jobs": None,
            "process": 12,
            "started": None,
            "facts": 20,
            "memory": None,
        },
        leave_out=("process", "facts", "started", "memory"),
    )
    for row in rows:
        facts = " ".join(f"{name}={value}" for name, value in row.facts.items())
        table.add(
            row.name,
            row.queue,
            row.state or "?",
            f"{len(row.jobs)}/{_or_unknown(row.slots)}",
            f"{_or_unknown(row.host)}:{_or_unknown(row.pid)}",
            "?" if row.started_at is None else text.ago(row.started_at),
            Text(facts, style="dim"),
            "" if row.device is None else _memory(row.device) + (" (shared)" if row.gpu_shared_with else ""),
        )
    return table


def _memory(device: DeviceUse) -> str:
    used = "?" if device.used_bytes is None else f"{device.used_bytes / 1e9:.1f}"
    return f"{used}/{device.memory_bytes / 1e9:.1f} GB"


def _or_unknown(value: object) -> str:
    return "?" if value is None else str(value)


def status(row: JobStatus) -> Card:
    card = Card()
    card.add_row("job", row.job_id)
    card.add_row("state", state(row.status.value))
    if row.queue_position is not None:
        card.add_row("position", f"{row.queue_position} ahead of it" if row.queue_position else "next in line")
    if row.eta_s is not None:
        card.add_row("begins" if row.estimated_start_at else "ends", f"in about {text.duration(row.eta_s)}")
    waiting = why_waiting(row)
    if waiting is not None:
        card.add_row("waiting", Text(waiting, style="yellow"))
    if row.attempt:
        card.add_row("attempt", str(row.attempt))
    if row.progress is not None:
        step = f", step {row.progress.step}" if row.progress.step is not None else ""
        card.add_row("progress", f"{row.progress.fraction:.0%}{step}")
    for split, values in row.metrics.items():
        card.add_row(split, text.metrics(values))
    for name, moment in (("submitted", row.created_at), ("started", row.started_at), ("finished", row.finished_at)):
        if moment is not None:
            card.add_row(name, text.ago(moment))
    if row.due_at is not None:
        card.add_row("due", text.ago(row.due_at))
    if row.worker is not None:
        card.add_row("worker", row.worker)
    asked = [name for name, set_ in (("cancel", row.cancel_requested), ("pause", row.pause_requested)) if set_]
    if asked:
        card.add_row("asked to", ", ".join(asked))
    if row.error is not None:
        card.add_row("error", Text(f"{row.error.code}: {row.error.message}", style="red"))
    return card


def why_waiting(row: JobStatus) -> str | None:
    """What the job waits for, if it waits for more than its turn in the queue."""
    if row.waits_for:
        return f"for {' and '.join(row.waits_for)} to succeed"
    if row.workers == 0:
        return f"for a worker: none serves the queue {queue_of(row.job_id)}"
    return None


def state(value: str) -> Text:
    return Text(value, style=STATE_STYLES.get(value, ""))
