"""The consumer of a queue: claim, run, renew, settle. Knows jobs, not models.

`worker` is one task group, and each of its duties has a file. `instrument` lists what the duties tell about themselves;
`metrics` and `log_lines` listen. `handler` is all that the runtime shares with a worker that runs models.
"""

from shared_schemas.service.logs import configure_logs

from worker_runtime.handler import Attempt, Handler, StopReason
from worker_runtime.settings import RuntimeSettings
from worker_runtime.worker import Worker, run_worker

__all__ = ["Attempt", "Handler", "RuntimeSettings", "StopReason", "Worker", "configure_logs", "run_worker"]
