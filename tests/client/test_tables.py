"""Tables at the width of the terminal: a row is one line, and ids and states are never cut."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from headrace import answer_lines, tables
from headrace.narrow_tables import FittedTable
from headrace.text import ago
from shared_schemas.errors import ErrorInfo
from shared_schemas.ids import JobId, QueueName
from shared_schemas.job import DeviceUse, JobState, JobSummary, WorkerStatus
from shared_schemas.kinds import JobKind

NOW = datetime(2030, 1, 1, tzinfo=UTC)
LONGEST_ID = JobId("inference-01arz3ndektsv4rrffq69g5fav")


def lines(table: FittedTable, width: int) -> list[str]:
    return [line.plain.rstrip() for line in table.lines(width)]


def a_job(state: JobState) -> JobSummary:
    return JobSummary(
        id=LONGEST_ID,
        kind=JobKind.INFERENCE,
        queue=QueueName("inference"),
        state=state,
        subject="a-model-with-a-rather-long-name@12",
        created_at=datetime.now(UTC) - timedelta(minutes=3, seconds=5),
        started_at=NOW,
        finished_at=NOW + timedelta(seconds=12),
        fraction=0.5,
        error=ErrorInfo(code="worker_process_died", message="the training process was ended by SIGKILL"),
    )


@pytest.mark.parametrize("width", [60, 80, 120, 240])
def test_each_job_is_one_line_with_its_whole_id_and_state(width: int) -> None:
    header, *rows = lines(tables.jobs([a_job(state) for state in JobState]), width)

    assert len(rows) == len(JobState)
    for row, state in zip(rows, JobState, strict=True):
        assert row.split()[:2] == [LONGEST_ID, state.value]
    assert max(map(len, [header, *rows])) <= width


def test_eighty_columns_leave_out_what_matters_least_of_a_job() -> None:
    header, row = lines(tables.jobs([a_job(JobState.FAILED)]), 80)

    assert header.split() == ["job", "state", "of", "done", "submitted"]
    assert "3m ago" in row
    assert "50%" in row
    assert "…" in row
    assert "worker_process_died: the training process was ended by SIGKILL" in lines(
        tables.jobs([a_job(JobState.FAILED)]), 240
    )[1]  # fmt: skip


def test_each_worker_is_one_line() -> None:
    worker = WorkerStatus(
        name="training-1-8ec7fc",
        queue=QueueName("training"),
        kind=JobKind.TRAINING,
        host="a-host-with-a-long-name.example",
        pid=12345,
        slots=1,
        started_at=datetime.now(UTC) - timedelta(hours=50),
        seen_at=NOW,
        state="draining",
        facts={"device": "auto", "torch": "2.15.0"},
    )

    for width in (80, 120):
        header, row = lines(tables.workers([worker]), width)
        assert len(row) <= width
        for part in ("training-1-8ec7fc", "draining", "0/1", "2d ago", "device=auto"):
            assert part in row
        assert ("process" in header) == (width == 120)


def test_a_worker_is_shown_with_the_memory_of_its_device() -> None:
    device = DeviceUse(name="cuda:1", hardware="GPU", memory_bytes=16 * 10**9, used_bytes=15 * 10**8, rss_bytes=1)
    silent = msgspec.structs.replace(device, used_bytes=None)
    rows = [
        WorkerStatus(name=name, queue=QueueName("training"), kind=JobKind.TRAINING, device=each)
        for name, each in {"telling": device, "silent": silent, "old": None}.items()
    ]

    rows.append(msgspec.structs.replace(rows[0], name="sharing", gpu_shared_with=("telling",)))

    header, telling, unknown, old, sharing = lines(tables.workers(rows), 200)

    assert header.split()[-1] == "memory"
    assert telling.endswith("1.5/16.0 GB")
    assert unknown.endswith("?/16.0 GB")
    assert "GB" not in old
    assert sharing.endswith("1.5/16.0 GB (shared)")


def test_an_answer_says_its_label_once_and_the_others_as_parts_of_a_hundred() -> None:
    scores = {"a": 0.9972, "b": 0.0028, "c": 2e-9}

    shown = answer_lines.answer({"label": "a", "score": 0.9972, "scores": scores}).plain

    assert shown.split() == ["a", "99.7%", "b", "0.3%", "·", "c", "0.0%"]


def test_of_an_answer_of_tensors_the_first_values_are_shown() -> None:
    outputs = {
        "y": {"dtype": "float32", "shape": [2, 5], "data": [0.5, "NaN", *range(8)]},
        "z": {"dtype": "string", "shape": [], "data": ["a"]},
    }

    shown = answer_lines.answer({"outputs": outputs}).plain.splitlines()

    assert shown == ["  y float32[2, 5]  0.5, NaN, 0, 1, 2, 3, 4, 5 and 2 more", "  z string[]  a"]


def test_columns_that_nobody_filled_go_first() -> None:
    table = FittedTable({"name": None, "empty": None, "some": None, "last": 4}, leave_out=("some",))
    table.add("n" * 10, "", "s" * 10, "l" * 10)

    assert lines(table, 80)[0].split() == ["name", "empty", "some", "last"]
    assert [line.split() for line in lines(table, 30)] == [["name", "some", "last"], ["n" * 10, "s" * 10, "lllll…"]]
    assert lines(table, 20)[0].split() == ["name", "last"]


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0.4, "now"), (12, "12s ago"), (185, "3m ago"), (7300, "2h ago"), (180_000, "2d ago"), (-185, "in 3m")],
)
def test_a_time_is_shown_in_one_short_unit(seconds: float, shown: str) -> None:
    assert ago(NOW - timedelta(seconds=seconds), now=NOW) == shown


@pytest.mark.parametrize(
    ("warning", "text"),
    [
        ({"code": "outside_training_range", "feature": "year"}, "year: far from all"),
        ({"code": "outside_training_range", "feature": "a", "more": 3}, "a and 3 more features: far from all"),
        ({"code": "input_truncated"}, "not all of it was read"),
        ({"code": "of a later version"}, "of a later version"),
    ],
)
def test_an_answer_is_shown_with_what_it_warns_of(warning: dict[str, object], text: str) -> None:
    shown = answer_lines.answer({"prediction": 2.5, "warnings": [warning]}).plain.splitlines()

    assert shown[0].strip() == "2.5"
    assert text in shown[1]
