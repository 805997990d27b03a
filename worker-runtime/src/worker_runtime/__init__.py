"""The consumer of a queue: claims, runs and settles jobs, and renews their leases.

Knows jobs, not models.

`worker` is one task group, and each of its duties has a file. `instrument` lists the events that
duties report, which `metrics` counts and `log_lines` logs. `handler` is the interface to the code
that runs models.
"""

from shared_schemas.service.logs import configure_logs

from worker_runtime.handler import Attempt, Handler, StopReason
from worker_runtime.settings import RuntimeSettings
from worker_runtime.worker import Worker, run_worker

__all__ = ["Attempt", "Handler", "RuntimeSettings", "StopReason", "Worker", "configure_logs", "run_worker"]
