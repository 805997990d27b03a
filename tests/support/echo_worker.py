"""A worker for the kind of job that `tests/e2e/test_new_kind.py` adds to the table of kinds.

    python -m tests.support.echo_worker

Its result is the text in the job's spec. Settings come from the environment, as in production.
"""

import os

import msgspec
from shared_schemas.events import Emitted
from shared_schemas.kinds import JobKind
from shared_schemas.outcome import Success
from shared_schemas.service.settings import from_environ
from worker_runtime import Attempt, RuntimeSettings, configure_logs, run_worker


class EchoHandler:
    kind = JobKind("echo")

    def describe(self) -> dict[str, str]:
        return {}

    async def run(self, attempt: Attempt) -> Success:
        text = getattr(attempt.spec, "text", "")
        await attempt.record(Emitted(chunk=text))
        return Success(msgspec.Raw(msgspec.json.encode(text)))


if __name__ == "__main__":
    configure_logs("json")
    run_worker(from_environ(RuntimeSettings, prefix="HEADRACE_", environ=os.environ), EchoHandler())
