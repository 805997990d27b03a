"""A worker for a kind of job that is not part of Headrace: `tests/e2e/test_new_kind.py` adds it to the table of kinds.

    python -m tests.support.echo_worker

It answers each job with the text that the job's spec holds. Settings come from the environment, as in production.
"""

import os

import msgspec
from shared_schemas.events import Emitted
from shared_schemas.kinds import JobKind
from shared_schemas.outcome import Success
from shared_schemas.settings import from_environ
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
