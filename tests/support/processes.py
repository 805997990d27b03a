"""The end of a process that a test has started."""

import subprocess

import anyio
import psutil


async def ended(process: "subprocess.Popen[bytes] | psutil.Popen", *, within_s: float = 60.0) -> int:
    """-> the exit status of a process that ends by itself."""
    with anyio.fail_after(within_s):
        return int(await anyio.to_thread.run_sync(process.wait, abandon_on_cancel=True))
