"""An event of a duty reaches each observer that overrides its method, and no other."""

import pytest
from shared_schemas.ids import JobId
from shared_schemas.service.observers import combined
from worker_runtime.instrument import QueueObserver
from worker_runtime.log_lines import QueueLog
from worker_runtime.metrics import QueueMetrics


class Noting(QueueObserver):
    def __init__(self, name: str, notes: list[tuple[object, ...]]) -> None:
        self._name, self._notes = name, notes

    def job_reclaimed(self, job_id: JobId, outcome: str) -> None:
        self._notes.append((self._name, job_id, outcome))


class Counting(Noting):
    def jobs_settled(self, count: int) -> None:
        self._notes.append((self._name, count))


def test_an_event_reaches_every_observer_that_wants_it_in_order() -> None:
    notes = list[tuple[object, ...]]()
    observer = combined(QueueObserver, Noting("first", notes), Counting("second", notes))

    observer.job_reclaimed(JobId("j"), "requeued")
    observer.jobs_settled(3)
    observer.jobs_promoted(1, 0)

    assert notes == [("first", "j", "requeued"), ("second", "j", "requeued"), ("second", 3)]


@pytest.mark.parametrize("observer", [QueueLog, QueueMetrics])
def test_metrics_and_logs_override_only_events_that_exist(observer: type[QueueObserver]) -> None:
    listened = {name for name in vars(observer) if not name.startswith("_")}

    assert listened
    assert listened <= set(vars(QueueObserver))
