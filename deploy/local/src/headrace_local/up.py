"""`headrace up`: starts the system, prints what to try, and waits for Ctrl-C.
Knows no single service."""

import signal
import socket

from headrace.addresses import DEFAULT_URL
from headrace.commands.command import COMMAND
from rich.console import Console
from rich.markup import escape

from headrace_local.logs import Log
from headrace_local.samples import write_samples
from headrace_local.system import LocalSystem, SystemConfig, check_settings, running_system


def stay_up(config: SystemConfig, console: Console, log: Log) -> None:
    """Return after the first Ctrl-C and the drain. KeyboardInterrupt if a second Ctrl-C ended the
    drain early. SettingsRejected, LocalError."""
    check_settings(config)
    log.note("headrace", "starting", style="dim")
    with running_system(config, log) as system:
        if config.given_data_root is None:
            write_samples(config.data_root)
        try:
            _say_what_to_try(system, console)
            _wait_for_ctrl_c()
        except KeyboardInterrupt:
            # The terminal has written ^C at the cursor.
            console.print()
            log.note("headrace", "draining; Ctrl-C again kills")
    log.note("headrace", "stopped")


def _wait_for_ctrl_c() -> None:
    """Wait until a signal handler raises. Python runs handlers in the main thread only, between two
    of its steps. So a signal that comes just before the wait, or in another thread, would not end
    it. The byte that Python writes to the wakeup socket does."""
    wakeups, writer = socket.socketpair()
    with wakeups, writer:
        writer.setblocking(False)
        before = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        try:
            while wakeups.recv(64):
                pass
        finally:
            signal.set_wakeup_fd(before)


def _say_what_to_try(system: LocalSystem, console: Console) -> None:
    config, url = system.config, system.url
    is_own = config.given_data_root is not None
    workers = f"{', '.join(f'{n} {kind}' for kind, n in config.workers.items())} workers"
    lines = [
        f"[bold green]Headrace is up[/] at [bold]{url}[/]  [dim]API: {url}/docs[/]",
        f"  [dim]{escape(system.redis)} · {workers}[/]",
        f"  [dim]data sets go into {escape(str(config.data_root))}{'' if is_own else '; samples are there'}[/]",
        "",
    ]
    if url != DEFAULT_URL:
        lines.append(f"  export HEADRACE_URL={url}")
    if is_own:
        lines += [f"  {COMMAND} submit training mlp FILE.csv --watch", ""]
    else:
        lines += _with_samples(url)
    for line in lines:
        console.print(line, soft_wrap=True)


def _with_samples(url: str) -> list[str]:
    return [
        f"  {COMMAND} submit training mlp wine.csv --name wine --watch",
        f"  {COMMAND} submit training transformer train.csv --name topics --watch",
        f"  curl -X POST {url}/jobs/training -H 'Content-Type: application/json' \\",
        '       -d \'{"model_type": "transformer", "data_path": "/data/train.csv"}\'',
        f"  curl -N {url}/jobs/JOB/events",
        "",
    ]
