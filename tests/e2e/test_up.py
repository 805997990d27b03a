"""`headrace up` in the foreground, as a person runs it."""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from headrace import Client
from headrace_local.errors import PortTaken
from headrace_local.system import free_port
from shared_schemas.events import Logged, Measured
from shared_schemas.job import JobState
from shared_schemas.specs import Hyperparameters

from tests.support.redis_server import bundled

DEADLINE_S = 60.0
LIBC = ctypes.CDLL(None)
LONG = Hyperparameters(epochs=100_000)
# Signals that come sooner count as the same press of Ctrl-C.
TWO_PRESSES_S = 0.6
NO_WORKERS = ("--training-workers", "0", "--inference-workers", "0", "--publishing-workers", "0")
# The niceness: tests that run beside it have as good a claim to the cores.
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("HEADRACE_")}
ENVIRONMENT |= {"HEADRACE_NICENESS": "0"}


class Up:
    """said: what it printed until it was up."""

    def __init__(self, process: "subprocess.Popen[str]", url: str, said: str) -> None:
        self.process, self.url, self.said = process, url, said
        self.family = psutil.Process(process.pid).children(recursive=True)

    def until_it_says(self, words: str) -> None:
        assert self.process.stdout is not None
        assert any(words in line for line in self.process.stdout)

    def interrupt(self) -> int:
        """Press Ctrl-C, then do as `until_it_ends`."""
        self.process.send_signal(signal.SIGINT)
        return self.until_it_ends()

    def until_it_ends(self) -> int:
        """Wait for the end, and assert that no process is left. -> the exit code"""
        code = self.process.wait(timeout=DEADLINE_S)
        _, alive = psutil.wait_procs(self.family, timeout=5)
        assert not alive
        return code


@contextmanager
def up(data_dir: Path, *options: str, **environment: str) -> Iterator[Up]:
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "headrace.cli", "up", "--port", str(port), "--data-dir", str(data_dir), *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=ENVIRONMENT | environment,
    )
    family: list[psutil.Process] = []
    try:
        assert process.stdout is not None
        read = []
        for line in process.stdout:
            read.append(line)
            if "Headrace is up" in line:
                break
        else:
            pytest.fail("up ended: " + "".join(read))
        running = Up(process, f"http://127.0.0.1:{port}", "".join(read))
        family = running.family
        yield running
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()
        psutil.wait_procs(family, timeout=10)


def test_ctrl_c_drains_and_the_running_job_is_queued_at_the_next_start(tmp_path: Path) -> None:
    with up(tmp_path, "--inference-workers", "0") as first, Client(first.url) as client:
        job_id = client.submit_training(model_type="mlp", data_path="wine.csv", hyperparameters=LONG).job_id
        for event in client.events(job_id):
            if isinstance(event, Measured):
                break
        began = time.monotonic()
        assert first.interrupt() == 0
        assert time.monotonic() - began < 30

    with up(tmp_path, *NO_WORKERS) as second, Client(second.url) as client:
        job = client.job(job_id)
        assert second.interrupt() == 0

    assert job.state is JobState.QUEUED
    assert (job.attempt, job.failures, job.crashes) == (1, 0, 0)
    assert job.checkpoint is not None


def a_training_process(running: Up) -> psutil.Process:
    """Submit a job. -> the process that trains it, as soon as it exists"""
    [worker] = [each for each in running.family if "training_worker" in each.cmdline()]
    with Client(running.url) as client:
        job = client.submit_training(model_type="mlp", data_path="wine.csv", hyperparameters=LONG)
        for _ in client.events(job.job_id):
            if children := worker.children():
                running.family.extend(children)
                return children[0]
    pytest.fail("the job ended")


def test_a_second_ctrl_c_leaves_nothing_even_of_a_suspended_training_process(tmp_path: Path) -> None:
    with up(tmp_path, "--inference-workers", "0") as running:
        a_training_process(running).suspend()
        running.process.send_signal(signal.SIGINT)
        running.until_it_says("draining")
        time.sleep(TWO_PRESSES_S)
        assert running.interrupt() == 130


@pytest.mark.parametrize("second", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
@pytest.mark.parametrize("writes", [True, False], ids=["while it writes", "while it waits"])
def test_a_ctrl_c_that_arrives_twice_at_once_is_one(tmp_path: Path, second: signal.Signals, writes: bool) -> None:
    with up(tmp_path, *NO_WORKERS) as running:
        if not writes:
            running.until_it_says("curl -N")
        # Nothing runs between the two signals.
        os.kill(running.process.pid, signal.SIGINT)
        os.kill(running.process.pid, second)
        assert running.until_it_ends() == 0


@pytest.mark.skipif(sys.platform != "linux", reason="needs tgkill")
def test_a_ctrl_c_that_the_kernel_hands_to_another_thread_ends_the_wait(tmp_path: Path) -> None:
    # The threads of `headrace up` block all signals. A thread of a library may block none.
    site, named = tmp_path / "site", tmp_path / "thread"
    site.mkdir()
    (site / "sitecustomize.py").write_text(
        "import pathlib, sys, threading\n"
        "def wait():\n"
        f"    pathlib.Path({str(named)!r}).write_text(str(threading.get_native_id()))\n"
        "    threading.Event().wait()\n"
        "if 'up' in sys.orig_argv:\n"
        "    threading.Thread(target=wait, daemon=True).start()\n"
    )
    with up(tmp_path / "kept", *NO_WORKERS, PYTHONPATH=str(site)) as running:
        running.until_it_says("curl -N")
        assert LIBC.tgkill(running.process.pid, int(named.read_text()), signal.SIGINT) == 0
        assert running.until_it_ends() == 0


def test_ctrl_c_does_not_wait_for_a_training_process_that_still_loads_torch(tmp_path: Path) -> None:
    torch = tmp_path / "slow" / "torch"
    torch.mkdir(parents=True)
    (torch / "__init__.py").write_text("import time; print('loading', flush=True); time.sleep(600)")
    with (
        up(tmp_path / "kept", "--inference-workers", "0", PYTHONPATH=str(torch.parent)) as running,
        Client(running.url) as client,
    ):
        job = client.submit_training(model_type="mlp", data_path="wine.csv", hyperparameters=LONG)
        assert any(isinstance(event, Logged) and event.line == "loading" for event in client.events(job.job_id))
        running.family.extend(psutil.Process(running.process.pid).children(recursive=True))
        assert running.interrupt() == 0


def test_without_redis_on_the_path_the_bundled_one_is_started(tmp_path: Path) -> None:
    nothing = tmp_path / "empty"
    nothing.mkdir()
    with (
        up(
            tmp_path / ("long" * 30), "--inference-workers", "0", "--training-workers", "0", PATH=str(nothing)
        ) as running,
        Client(running.url) as client,
    ):
        names = [process.exe() for process in running.family if process.name() == "valkey-server"]
        reply = client.submit_training(model_type="mlp", data_path="wine.csv")
        assert reply.status is JobState.QUEUED
        assert running.interrupt() == 0

    assert [Path(name) for name in names] == [Path(bundled())]


def test_a_killed_up_leaves_nothing_behind(tmp_path: Path) -> None:
    with up(tmp_path, "--training-workers", "0") as running:
        running.process.kill()
        running.process.wait()
        _, alive = psutil.wait_procs(running.family, timeout=15)

    assert not alive


def refused(port: str, folder: Path) -> str:
    """What `up` prints if it cannot start."""
    done = subprocess.run(
        [sys.executable, "-m", "headrace.cli", "up", "--port", port, "--data-dir", str(folder)],
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
        env=ENVIRONMENT,
    )
    assert done.returncode == 5
    assert len(done.stderr.splitlines()) <= 2
    return done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc and /sys")
def test_an_unusable_folder_is_reported_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for folder in (Path("/proc/x"), Path("/sys/x"), tmp_path / "file" / "x"):
        assert f"cannot keep data in {folder}" in refused(str(free_port()), folder)


def test_a_taken_port_and_a_taken_folder_are_reported_in_one_sentence_each(tmp_path: Path) -> None:
    with up(tmp_path, *NO_WORKERS) as running:
        port = running.url.rpartition(":")[2]
        assert "choose another --port" in refused(port, tmp_path / "other")
        assert "choose another --data-dir" in refused(str(free_port()), tmp_path)
        assert running.interrupt() == 0


def test_a_host_that_is_not_of_this_machine_is_reported_in_one_sentence() -> None:
    with pytest.raises(PortTaken, match=r"cannot listen on 203\.0\.113\.1"):
        free_port("203.0.113.1")


def test_up_takes_the_environment_variables_of_its_parts(tmp_path: Path) -> None:
    data, artifacts = tmp_path / "mine", tmp_path / "models"
    data.mkdir()
    (data / "own.csv").write_text("x,label\n" + "".join(f"{i},{'ab'[i % 2]}\n" for i in range(60)))
    variables = {
        "HEADRACE_DATA_ROOT": str(data),
        "HEADRACE_ARTIFACTS_ROOT": str(artifacts),
        "HEADRACE_QUEUES": "training-own,inference-own",
        "HEADRACE_REDIS_PASSWORD_FILE": str(tmp_path / "none"),
    }
    with up(tmp_path / "kept", **variables) as running, Client(running.url) as client:
        job = client.submit_training(
            model_type="mlp", data_path="own.csv", queue="training-own", hyperparameters=Hyperparameters(epochs=2)
        )
        ended = client.wait(job.job_id, timeout_s=DEADLINE_S)
        queues = {worker.queue for worker in client.workers()}
        assert running.interrupt() == 0

    assert ended.state is JobState.SUCCEEDED
    assert queues == {"training-own", "inference-own", "publishing"}
    assert list(artifacts.iterdir())
    assert [file.name for file in data.iterdir()] == ["own.csv"]
    assert "HEADRACE_REDIS_PASSWORD_FILE has no effect" in running.said
