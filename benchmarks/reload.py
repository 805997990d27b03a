"""The CPU time of `uvicorn gateway.app:app --reload` while no file changes.

    uv run python -m benchmarks.reload [SECONDS]

Measured in two ways: with watchfiles, which the gateway's development dependencies include and
which the kernel notifies of changes; and without, when uvicorn polls every file under the folder.
"""

import os
import subprocess
import sys
import time

import psutil
from headrace_local.system import free_port

from tests.support.gateways import ROOT

_NOTIFIED = "import uvicorn; uvicorn.main()"
# Hides watchfiles: an import of it fails.
_POLLING = "import sys; sys.modules['watchfiles'] = None; import uvicorn; uvicorn.main()"
_NOBODY = "redis://127.0.0.1:1/0"


def cores(code: str, seconds: float) -> float:
    """The CPU time of the watching process, per second. The gateway that it starts is another
    process."""
    command = [sys.executable, "-c", code, "gateway.app:app", "--reload", "--port", str(free_port())]
    environment = os.environ | {"HEADRACE_REDIS_URL": _NOBODY}
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=quiet, stderr=quiet)
    try:
        watching = psutil.Process(process.pid)
        while not any(child.num_threads() for child in watching.children()):
            time.sleep(0.1)
        # The first poll lists all files.
        time.sleep(3.0)
        begun, before = time.monotonic(), watching.cpu_times()
        time.sleep(seconds)
        after, took_s = watching.cpu_times(), time.monotonic() - begun
        return (after.user + after.system - before.user - before.system) / took_s
    finally:
        process.terminate()
        process.wait()


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 10.0
    polling, notified = cores(_POLLING, seconds), cores(_NOTIFIED, seconds)
    ratio = notified / polling
    print(f"polling every file: {polling:.3f} cores; notified by the kernel: {notified:.3f}; ratio {ratio:.3f}")


if __name__ == "__main__":
    main()
