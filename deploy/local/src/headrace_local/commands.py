"""`headrace up`, `demo` and `gc`, as entry points of the group headrace.commands give them to the command line.

The only place of this package that reads the environment.
"""

import os
import signal
import time
from argparse import ArgumentTypeError
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from headrace.commands.command import Command, Ended, ExitCode, Given, Parser, whole
from headrace.ink import Text
from headrace.terminal import err, out
from shared_schemas.service.settings import SettingsRejected

from headrace_local.environment import inherited, not_heeded, settings_of
from headrace_local.errors import LocalError
from headrace_local.logs import Log
from headrace_local.programs import PROGRAMS
from headrace_local.system import SystemConfig, free_port

# Terminal, `uv run` and `timeout` may each pass the same Ctrl-C on.
_SAME_SIGNAL_S = 0.5


def _options(parser: Parser, *, data_dir: Path | None) -> None:
    default = "" if data_dir is None else f" ({data_dir})"
    parser.add_argument(
        "--data-dir", type=_folder, metavar="FOLDER", default=data_dir, help=f"Where what is kept lies{default}."
    )
    parser.add_argument(
        "--redis-url", metavar="URL", help="Use this Redis instead of an embedded one, e.g. redis://host:6379/0."
    )
    parser.add_argument("-v", "--verbose", action="store_true", help="Show all that the services log.")


def _folder(text: str) -> Path:
    path = Path(text)
    if path.exists() and not path.is_dir():
        raise ArgumentTypeError(f"{text} is not a folder")
    return path


def _up_options(parser: Parser) -> None:
    parser.add_argument("--host", help="Address to listen on. Else HEADRACE_HOST, else 127.0.0.1.")
    parser.add_argument("--port", type=whole(0, 65535), help="0 takes a free one. Else HEADRACE_PORT, else 8000.")
    for kind in PROGRAMS:
        parser.add_argument(
            f"--{kind}-workers", type=whole(0, 64), default=1, metavar="N", help="How many processes (1)."
        )
    _options(parser, data_dir=Path(".headrace"))


def up(given: Given) -> None:
    from headrace_local.up import stay_up

    log = Log(err.rich(), level="debug" if given.verbose else "info")
    with _ended_in_words(log, "headrace up"):
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
        for sentence in not_heeded(os.environ, is_embedded=config.redis_url is None):
            log.note("headrace", sentence, style="yellow")
        stay_up(config, out.rich(), log)


def _demo_options(parser: Parser) -> None:
    parser.add_argument("--keep", action="store_true", help="Keep what the demo made, for `headrace up`.")
    parser.add_argument("--port", type=whole(0, 65535), default=0, help="0 takes a free one.")
    _options(parser, data_dir=None)


def demo(given: Given) -> None:
    from headrace_local.demo import run_demo

    log = Log(out.rich(), level="debug" if given.verbose else "warning")
    with _ended_in_words(log, "headrace demo"):
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
        raise Ended(ExitCode.JOB_FAILED)


def _gc_options(parser: Parser) -> None:
    parser.add_argument("--dry-run", action="store_true", help="Say what would go, and remove nothing.")
    parser.add_argument("--adopt", action="store_true", help="The artifacts belong to this Redis from now on.")
    parser.add_argument("--json", dest="as_json", action="store_true", help="Each file that goes, as JSON.")
    _options(parser, data_dir=Path(".headrace"))


def gc(given: Given) -> None:
    from headrace.commands.shared import print_json

    from headrace_local.gc import collect, summary

    log = Log(err.rich(), level="info")
    with _ended_in_words(log, "headrace gc"):
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
        err.print(f"{command}: {error}")
        raise Ended(os.EX_CONFIG) from None
    except LocalError as error:
        err.print(Text.assemble(("error", "bold red"), f" {error}"))
        raise Ended(ExitCode.UNREACHABLE) from None
    except KeyboardInterrupt:
        log.note("headrace", "stopped")
        raise


UP = Command(
    """Run the whole system here until Ctrl-C: Redis, gateway and workers.

The first Ctrl-C drains: jobs that run end or are given back. The second kills.

HEADRACE_* variables count as they do for the parts, HEADRACE_REDIS_URL, HEADRACE_DATA_ROOT and
HEADRACE_ARTIFACTS_ROOT included. A setting that cannot be ends it with exit code 78.""",
    _up_options,
    up,
)
DEMO = Command(
    """Train three small models, serve them and watch it all live, in about two minutes.

Exit code 0 only if every model beats its baseline and everything ended as it should. It brings its own data, and
heeds neither HEADRACE_REDIS_URL nor any folder or queue that the environment names.""",
    _demo_options,
    demo,
)
GC = Command(
    """Remove files of the artifact folder that no job and no model refers to, as a training worker does each hour.

Of a job's checkpoints the newest HEADRACE_CHECKPOINTS_KEPT and the best one are kept. What was written within
HEADRACE_ARTIFACTS_GRACE_S stays. The Redis of the jobs must be running.""",
    _gc_options,
    gc,
)
