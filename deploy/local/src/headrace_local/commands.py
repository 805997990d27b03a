"""The commands `headrace up`, `demo` and `gc`. The client finds them by the entry point group
headrace.commands.

Only this module reads the environment of the process. Knows no service.
"""

import os
import signal
import time
from argparse import ArgumentTypeError
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from headrace.commands.command import Command, ExitCode, ExitWithCode, Given, Parser, whole
from headrace.ink import Text
from headrace.terminal import err, out
from shared_schemas.service.settings import SettingsRejected

from headrace_local.environment import ignored_variables, inherited, settings_of
from headrace_local.errors import LocalError
from headrace_local.logs import Log
from headrace_local.programs import PROGRAMS
from headrace_local.system import SystemConfig, free_port

# The terminal, `uv run` and `timeout` may each pass on the same Ctrl-C.
_SAME_SIGNAL_S = 0.5


def _options(parser: Parser, *, data_dir: Path | None) -> None:
    default = "" if data_dir is None else f" ({data_dir})"
    parser.add_argument(
        "--data-dir",
        type=_folder,
        metavar="FOLDER",
        default=data_dir,
        help=f"Folder for jobs, models and data sets{default}.",
    )
    parser.add_argument(
        "--redis-url", metavar="URL", help="Use this Redis instead of an embedded one, e.g. redis://host:6379/0."
    )
    parser.add_argument("-v", "--verbose", action="store_true", help="Show everything that the services log.")


def _folder(text: str) -> Path:
    path = Path(text)
    if path.exists() and not path.is_dir():
        raise ArgumentTypeError(f"{text} is not a folder")
    return path


def _up_options(parser: Parser) -> None:
    parser.add_argument("--host", help="Address to listen on. Default: HEADRACE_HOST, or 127.0.0.1.")
    parser.add_argument("--port", type=whole(0, 65535), help="0 for any free port. Default: HEADRACE_PORT, or 8000.")
    for kind in PROGRAMS:
        parser.add_argument(
            f"--{kind}-workers", type=whole(0, 64), default=1, metavar="N", help="Number of processes (1)."
        )
    _options(parser, data_dir=Path(".headrace"))


def up(given: Given) -> None:
    from headrace_local.up import stay_up

    log = Log(err.rich(), level="debug" if given.verbose else "info")
    with _errors_in_words(log, "headrace up"):
        settings = settings_of(os.environ, {"host": given.host, "port": given.port, "redis_url": given.redis_url})
        config = SystemConfig(
            data_dir=given.data_dir.resolve(),
            environment=inherited(os.environ),
            host=settings.host,
            port=settings.port or free_port(settings.host),
            workers={kind: getattr(given, f"{kind}_workers") for kind in PROGRAMS},
            redis_url=settings.redis_url or None,
            given_data_root=Path(settings.data_root).resolve() if settings.data_root else None,
            given_artifacts_root=Path(settings.artifacts_root).resolve() if settings.artifacts_root else None,
            drain_grace_s=settings.drain_grace_s,
        )
        for sentence in ignored_variables(os.environ, is_embedded=config.redis_url is None):
            log.note("headrace", sentence, style="yellow")
        stay_up(config, out.rich(), log)


def _demo_options(parser: Parser) -> None:
    parser.add_argument("--keep", action="store_true", help="Keep the jobs and models of the demo, for `headrace up`.")
    parser.add_argument("--port", type=whole(0, 65535), default=0, help="0 for any free port (0).")
    _options(parser, data_dir=None)


def demo(given: Given) -> None:
    from headrace_local.demo import run_demo

    log = Log(out.rich(), level="debug" if given.verbose else "warning")
    with _errors_in_words(log, "headrace demo"):
        settings_of({}, {"redis_url": given.redis_url})
        went_well = run_demo(
            data_dir=None if given.data_dir is None else given.data_dir.resolve(),
            keep=given.keep,
            port=given.port or free_port(),
            redis_url=given.redis_url,
            environment={name: value for name, value in inherited(os.environ).items() if name != "HEADRACE_QUEUES"},
            console=out.rich(),
            log=log,
        )
    if not went_well:
        raise ExitWithCode(ExitCode.JOB_FAILED)


def _gc_options(parser: Parser) -> None:
    parser.add_argument("--dry-run", action="store_true", help="List what would be removed, and remove nothing.")
    parser.add_argument(
        "--adopt", action="store_true", help="Let the artifact folder belong to this Redis from now on."
    )
    parser.add_argument("--json", dest="as_json", action="store_true", help="Print the removed files as JSON.")
    _options(parser, data_dir=Path(".headrace"))


def gc(given: Given) -> None:
    from headrace.commands.shared import print_json

    from headrace_local.gc import collect, summary

    log = Log(err.rich(), level="info")
    with _errors_in_words(log, "headrace gc"):
        settings = settings_of(os.environ, {"redis_url": given.redis_url})
        done = collect(
            inherited(os.environ),
            data_dir=given.data_dir,
            redis_url=settings.redis_url or None,
            artifacts_root=settings.artifacts_root or "",
            dry_run=given.dry_run,
            adopt=given.adopt,
        )
    if given.as_json:
        print_json(done)
    for line in [] if given.as_json else summary(done, dry_run=given.dry_run):
        out.print(line)


def _end_like_ctrl_c() -> None:
    """Handle SIGTERM and a closed terminal like Ctrl-C. Handle SIGINT too, which a shell's
    background job ignores.

    The first two signals raise KeyboardInterrupt. Later ones are ignored: everything is being
    killed by then, and that must not be interrupted.
    """
    received: list[float] = []

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        now = time.monotonic()
        if len(received) == 2 or (received and now - received[0] < _SAME_SIGNAL_S):
            return
        received.append(now)
        raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupt)


@contextmanager
def _errors_in_words(log: Log, command: str) -> Iterator[None]:
    """Print an error as one line, and after a Ctrl-C print when everything has stopped."""
    _end_like_ctrl_c()
    try:
        yield
    except SettingsRejected as error:
        err.print(f"{command}: {error}")
        raise ExitWithCode(os.EX_CONFIG) from None
    except LocalError as error:
        err.print(Text.assemble(("error", "bold red"), f" {error}"))
        raise ExitWithCode(ExitCode.UNREACHABLE) from None
    except KeyboardInterrupt:
        log.note("headrace", "stopped")
        raise


UP = Command(
    """Run the whole system here until Ctrl-C: Redis, gateway and workers.

The first Ctrl-C drains: running jobs finish or are released. The second kills.

HEADRACE_* variables work as they do for the services, including HEADRACE_REDIS_URL,
HEADRACE_DATA_ROOT and HEADRACE_ARTIFACTS_ROOT. An invalid setting ends the command with exit code 78.""",
    _up_options,
    up,
)
DEMO = Command(
    """Train three small models, serve them and watch it all live, in about two minutes.

The exit code is 0 only if every model beats its baseline and everything ends as it should. The demo
uses its own data. It ignores HEADRACE_REDIS_URL, and folders and queues in the environment.""",
    _demo_options,
    demo,
)
GC = Command(
    """Remove artifacts that no job and no model refers to, as a training worker does each hour.

Each job keeps its newest HEADRACE_CHECKPOINTS_KEPT checkpoints and its best one. Files written within
the last HEADRACE_ARTIFACTS_GRACE_S seconds are kept. The Redis of the jobs must be running.""",
    _gc_options,
    gc,
)
