"""What `uvicorn gateway.app:app --reload` takes while no file changes: told of changes by the kernel, as the gateway's
development dependencies have it (watchfiles), and by looking at every file under the folder, as uvicorn does without.

    uv run python -m benchmarks.reload [SECONDS]
"""

import os
import subprocess
import sys
import time

import psutil
from headrace_local.system import free_port

from tests.support.gateways import ROOT

_TOLD = "import uvicorn; uvicorn.main()"
# What cannot be imported is not there.
_LOOKING = "import sys; sys.modules['watchfiles'] = None; import uvicorn; uvicorn.main()"
_NOBODY = "redis://127.0.0.1:1/0"


def cores(code: str, seconds: float) -> float:
    """CPU time of the process that watches, per second. The gateway that it starts is another process."""
    command = [sys.executable, "-c", code, "gateway.app:app", "--reload", "--port", str(free_port())]
    environment = os.environ | {"HEADRACE_REDIS_URL": _NOBODY}
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=quiet, stderr=quiet)
    try:
        watching = psutil.Process(process.pid)
        while not any(child.num_threads() for child in watching.children()):
            time.sleep(0.1)
        # The first look makes a list of all files.
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
    looking, told = cores(_LOOKING, seconds), cores(_TOLD, seconds)
    print(f"looking at every file: {looking:.3f} cores; told by the kernel: {told:.3f}; ratio {told / looking:.3f}")


if __name__ == "__main__":
    main()
