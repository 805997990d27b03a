"""An invalid setting ends any process with one plain line and exit code 78."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

CANARY = "canary-7f3a"
PARTS = {
    "gateway": ["-m", "gateway"],
    "training-worker": ["-m", "training_worker"],
    "inference-worker": ["-m", "inference_worker"],
    "headrace up": ["-m", "headrace.cli", "up"],
}
REFUSED = [
    ({"HEADRACE_REDIS_URL": f"redis://:{CANARY}@h/0?protocol=3"}, "HEADRACE_REDIS_URL"),
    ({"HEADRACE_REDIS_URL": f"redis://:{CANARY}/@h:6379/0"}, "HEADRACE_REDIS_URL"),
    ({"HEADRACE_REDIS_TIMEOUT_S": CANARY}, "HEADRACE_REDIS_TIMEOUT_S"),
]
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("HEADRACE_")}


def ended(part: list[str], folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *part],
        env=ENVIRONMENT | variables,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(("variables", "named"), REFUSED)
@pytest.mark.parametrize("part", PARTS)
def test_a_bad_setting_is_one_line_and_exit_code_78(
    part: str, variables: dict[str, str], named: str, tmp_path: Path
) -> None:
    process = ended(PARTS[part], tmp_path, **variables)

    assert process.returncode == os.EX_CONFIG, process.stderr
    assert process.stderr.startswith(f"{part}: {named}: ")
    assert process.stderr.count("\n") == 1
    assert CANARY not in process.stderr + process.stdout


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HOSTS", f"https://{CANARY}.example"),
        ("HOSTS", f"jobs.example,{CANARY}:8000"),
        ("HOSTS", f"jobs.*.{CANARY}"),
        ("CORS_ORIGINS", CANARY),
        ("CORS_ORIGINS", f"https://{CANARY}.example/"),
        ("CORS_ORIGINS", f"https://*.{CANARY}"),
    ],
)
def test_a_name_or_an_origin_that_no_request_can_have_is_refused(name: str, value: str, tmp_path: Path) -> None:
    process = ended(PARTS["gateway"], tmp_path, **{f"HEADRACE_{name}": value})

    assert process.returncode == os.EX_CONFIG, process.stderr
    assert process.stderr.startswith(f"gateway: HEADRACE_{name}: ")
    assert process.stderr.count("\n") == 1
    assert CANARY not in process.stderr + process.stdout


OF_UP = [
    ((), {"HEADRACE_PORT": "65536"}, "HEADRACE_PORT"),
    ((), {"HEADRACE_SLOTS": CANARY}, "HEADRACE_SLOTS"),
    ((), {"HEADRACE_QUEUES": CANARY}, "HEADRACE_QUEUES"),
    ((), {"HEADRACE_DATA_ROOT": f"/{CANARY}"}, "HEADRACE_DATA_ROOT"),
    ((), {"HEADRACE_METRICS_PORT": "9100"}, "HEADRACE_METRICS_PORT"),
    (("--redis-url", f"redis://{CANARY}/0?retry=1"), {}, "--redis-url"),
]


@pytest.mark.parametrize(("options", "variables", "named"), OF_UP)
def test_what_the_parts_of_up_would_refuse_is_refused_before_any_starts(
    options: tuple[str, ...], variables: dict[str, str], named: str, tmp_path: Path
) -> None:
    process = ended([*PARTS["headrace up"], *options], tmp_path, **variables)

    assert process.returncode == os.EX_CONFIG, process.stderr
    assert process.stderr.startswith(f"headrace up: {named}: ")
    assert process.stderr.count("\n") == 1
    assert CANARY not in process.stderr + process.stdout
    assert not list(tmp_path.iterdir())
