"""`headrace up` and `headrace demo`, as the entry point of the group headrace.commands gives them to the CLI.

The only place of this package that reads the environment.
"""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer
from headrace.commands.shared import ExitCode, err, out
from rich.markup import escape
from shared_schemas.settings import SettingsRejected

from headrace_local.environment import inherited, not_heeded, settings_of
from headrace_local.errors import LocalError
from headrace_local.logs import Log
from headrace_local.system import SystemConfig, free_port

# Terminal, `uv run` and `timeout` may each pass the same Ctrl-C on.
_SAME_SIGNAL_S = 0.5

_DataDirOption = Annotated[
    Path | None, typer.Option("--data-dir", file_okay=False, help="Where everything that is kept lies.")
]
_VerboseOption = Annotated[bool, typer.Option("--verbose", "-v", help="Show all that the services log.")]
_RedisOption = Annotated[
    str | None, typer.Option("--redis-url", help="Use this Redis instead of an embedded one, e.g. redis://host:6379/0.")
]
_WorkersOption = Annotated[int, typer.Option(min=0, max=64, help="How many processes.")]


def register(app: typer.Typer) -> None:
    app.command()(up)
    app.command()(demo)


def up(
    host: Annotated[
        str | None, typer.Option("--host", help="Address to listen on.  [default: HEADRACE_HOST, else 127.0.0.1]")
    ] = None,
    port: Annotated[
        int | None,
        typer.Option("--port", min=0, max=65535, help="0 takes a free one.  [default: HEADRACE_PORT, else 8000]"),
    ] = None,
    data_dir: _DataDirOption = Path(".headrace"),
    training_workers: _WorkersOption = 1,
    inference_workers: _WorkersOption = 1,
    redis_url: _RedisOption = None,
    verbose: _VerboseOption = False,
) -> None:
    """Run the whole system here until Ctrl-C: Redis, gateway and workers.

    The first Ctrl-C drains: jobs that run end or are given back. The second kills.

    HEADRACE_* variables count as they do for the parts, HEADRACE_REDIS_URL, HEADRACE_DATA_ROOT and
    HEADRACE_ARTIFACTS_ROOT included. A setting that cannot be ends it with exit code 78.
    """
    from headrace_local.up import stay_up

    log = Log(err, level="debug" if verbose else "info")
    with _ended_in_words(log, "headrace up"):
        settings = settings_of(os.environ, {"host": host, "port": port, "redis_url": redis_url})
        config = SystemConfig(
            data_dir=(data_dir or Path(".headrace")).resolve(),
            environment=inherited(os.environ),
            host=settings.host,
            port=settings.port or free_port(settings.host),
            training_workers=training_workers,
            inference_workers=inference_workers,
            redis_url=settings.redis_url or None,
            given_data_root=Path(settings.data_root).resolve() if settings.data_root else None,
            given_artifacts_root=Path(settings.artifacts_root).resolve() if settings.artifacts_root else None,
            drain_grace_s=settings.drain_grace_s,
        )
        for sentence in not_heeded(os.environ, is_embedded=config.redis_url is None):
            log.note("headrace", sentence, style="yellow")
        stay_up(config, out, log)


def demo(
    data_dir: _DataDirOption = None,
    keep: Annotated[bool, typer.Option("--keep", help="Keep what the demo made, for `headrace up`.")] = False,
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0 takes a free one.")] = 0,
    redis_url: _RedisOption = None,
    verbose: _VerboseOption = False,
) -> None:
    """Train three small models, serve them and watch it all live, in about two minutes.

    Exit code 0 only if every model beats its baseline and everything ended as it should. It brings its own data, and
    heeds neither HEADRACE_REDIS_URL nor any folder or queue that the environment names.
    """
    from headrace_local.demo import run_demo

    log = Log(out, level="debug" if verbose else "warning")
    with _ended_in_words(log, "headrace demo"):
        settings_of({}, {"redis_url": redis_url})
        went_well = run_demo(
            data_dir=None if data_dir is None else data_dir.resolve(),
            keep=keep,
            port=port or free_port(),
            redis_url=redis_url,
            environment={name: value for name, value in inherited(os.environ).items() if name != "HEADRACE_QUEUES"},
            console=out,
            log=log,
        )
    if not went_well:
        raise typer.Exit(ExitCode.JOB_FAILED)


def _end_like_ctrl_c() -> None:
    """SIGTERM and a closed terminal drain too. A shell's background job ignores SIGINT: take it back.

    The first is a KeyboardInterrupt and so is the second. A third changes nothing: all is being killed by then, and who
    does that must not be cut off.
    """
    came: list[float] = []

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        now = time.monotonic()
        if len(came) == 2 or (came and now - came[0] < _SAME_SIGNAL_S):
            return
        came.append(now)
        raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupt)


@contextmanager
def _ended_in_words(log: Log, command: str) -> Iterator[None]:
    """What cannot be started is one line; and after a Ctrl-C it is said when nothing is left."""
    _end_like_ctrl_c()
    try:
        yield
    except SettingsRejected as error:
        err.print(f"{command}: {escape(str(error))}", soft_wrap=True)
        raise typer.Exit(os.EX_CONFIG) from None
    except LocalError as error:
        err.print(f"[bold red]error[/] {escape(str(error))}", soft_wrap=True)
        raise typer.Exit(ExitCode.UNREACHABLE) from None
    except KeyboardInterrupt:
        log.note("headrace", "stopped")
        raise
