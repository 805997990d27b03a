"""One service as a process: watched, started again, stopped, and never left behind."""

import io
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest
from headrace_local.logs import Log
from headrace_local.services import Service, stop
from rich.console import Console

DEADLINE_S = 20.0
ENVIRONMENT = dict(os.environ)
SLEEPER = "import time\nprint('up', flush=True)\ntime.sleep(600)"


class Lines(io.StringIO):
    """A text file on which a test can wait."""

    def __init__(self) -> None:
        super().__init__()
        self._grown = threading.Condition()

    def write(self, text: str) -> int:
        with self._grown:
            written = super().write(text)
            self._grown.notify_all()
        return written

    def wait_for(self, text: str, *, times: int = 1) -> None:
        with self._grown:
            assert self._grown.wait_for(lambda: self.getvalue().count(text) >= times, DEADLINE_S), self.getvalue()


@pytest.fixture
def lines() -> Lines:
    return Lines()


def a_service(program: str, lines: Lines) -> Service:
    log = Log(Console(file=lines, width=200))
    return Service("sleeper", [sys.executable, "-c", program], environment=ENVIRONMENT, log=log)


def test_what_a_service_writes_is_shown_with_its_name(lines: Lines) -> None:
    program = """print('plain words')
print('{"event": "job_done", "level": "info", "job_id": "j-1", "timestamp": "x"}')
print('{"event": "too fine", "level": "debug"}', flush=True)
import time; time.sleep(600)"""
    service = a_service(program, lines)
    service.start()
    lines.wait_for("job_done  job_id=j-1")
    service.kill()

    assert service.wait(timeout_s=DEADLINE_S)
    assert "sleeper      plain words" in lines.getvalue()
    assert "too fine" not in lines.getvalue()


def test_a_service_that_dies_is_reported_and_started_again(lines: Lines) -> None:
    service = a_service(SLEEPER, lines)
    service.start()
    lines.wait_for("up")
    first = service.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    lines.wait_for("up", times=2)
    second = service.pid
    service.kill()

    assert service.wait(timeout_s=DEADLINE_S)
    assert "ended by itself (killed by SIGKILL); again in 0.5 s" in lines.getvalue()
    assert service.deaths == 1
    assert second != first


def test_the_last_lines_of_a_service_that_dies_are_shown_even_where_only_warnings_are(lines: Lines) -> None:
    log = Log(Console(file=lines, width=200), level="warning")
    program = "print('at work', flush=True)\nimport sys\nraise LookupError('what it died of')"
    service = Service("sleeper", [sys.executable, "-c", program], environment=ENVIRONMENT, log=log)
    service.start()
    lines.wait_for("again in 0.5 s")
    service.kill()

    assert service.wait(timeout_s=DEADLINE_S)
    shown = lines.getvalue().splitlines()
    [died] = [i for i, line in enumerate(shown) if "ended by itself" in line][:1]
    assert "LookupError: what it died of" in shown[died - 1]


def test_a_service_that_ignores_sigterm_is_killed_after_the_grace(lines: Lines) -> None:
    program = "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + SLEEPER
    service = a_service(program, lines)
    service.start()
    lines.wait_for("up")

    stop([service], grace_s=0.2, log=Log(Console(file=lines, width=200)))

    assert service.pid is None
    assert "did not end within 0.2 s: killed" in lines.getvalue()


def _ends(pid: int) -> bool:
    """Whether the process ends soon. Without a parent that waits for it, it may stay as a zombie."""
    try:
        _, alive = psutil.wait_procs([psutil.Process(pid)], timeout=DEADLINE_S)
        return not alive or alive[0].status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_processes_that_a_service_started_end_with_it(lines: Lines) -> None:
    program = f"""import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print('child', child.pid, flush=True)
{SLEEPER}"""
    service = a_service(program, lines)
    service.start()
    lines.wait_for("up")
    child = int(lines.getvalue().split("child ")[1].split()[0])

    stop([service], grace_s=DEADLINE_S, log=Log(Console(file=lines)))

    assert _ends(child)


@pytest.mark.skipif(sys.platform != "linux", reason="who started whom is read from /proc")
def test_killing_a_service_kills_what_it_started_in_sessions_of_their_own(lines: Lines) -> None:
    program = """import subprocess, sys, time
inner = "import subprocess, time; print(subprocess.Popen(['sleep', '600'], start_new_session=True).pid, flush=True)"
child = subprocess.Popen([sys.executable, "-c", inner + "; time.sleep(600)"], start_new_session=True,
                         stdout=subprocess.PIPE, text=True)
print('pids', child.pid, child.stdout.readline().strip(), 'up', flush=True)
time.sleep(600)"""
    service = a_service(program, lines)
    service.start()
    lines.wait_for("up")
    pids = [int(pid) for pid in lines.getvalue().split("pids ")[1].split()[:2]]

    service.kill()

    assert service.wait(timeout_s=DEADLINE_S)
    assert all(_ends(pid) for pid in pids)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can tie a process to its parent")
def test_services_die_with_their_supervisor_even_if_it_is_killed(tmp_path: Path) -> None:
    program = """import os, sys, time
from rich.console import Console
from headrace_local.logs import Log
from headrace_local.services import Service
service = Service("s", [sys.executable, "-c", "import time; time.sleep(600)"], environment=dict(os.environ),
                  log=Log(Console()))
service.start()
while service.pid is None:
    time.sleep(0.01)
print(service.pid, flush=True)
time.sleep(600)"""
    supervisor = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, cwd=tmp_path)
    assert supervisor.stdout is not None
    with supervisor.stdout:
        orphan = psutil.Process(int(supervisor.stdout.readline()))
        supervisor.kill()
        supervisor.wait()
    _, alive = psutil.wait_procs([orphan], timeout=DEADLINE_S)

    assert not alive


def test_a_warning_of_every_service_about_the_same_redis_is_shown_once() -> None:
    lines = io.StringIO()
    log = Log(Console(file=lines, width=200))
    for service in ("gateway", "training-1", "inference-1"):
        log.line(service, '{"event": "redis_known_bug", "level": "warning", "warning": "Redis 6.2.14: old"}')
        log.line(service, '{"event": "redis_away", "level": "warning", "redis": "127.0.0.1"}')

    assert lines.getvalue().count("Redis 6.2.14: old") == 1
    assert lines.getvalue().count("redis_away") == 3
