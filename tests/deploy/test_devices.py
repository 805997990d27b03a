"""Which device a worker gets, and that it does not start without it."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from headrace_local.devices import assigned
from inference_worker.engines.session import _SMALLEST_MODEL
from inference_worker.settings import Settings as InferenceSettings
from shared_schemas.kinds import JobKind
from shared_schemas.service.gpus import Gpu
from shared_schemas.service.settings import SettingsRejected, from_environ
from training_worker.settings import TrainingSettings
from worker_runtime.settings import RuntimeSettings

from tests.support.gpu_driver import two_gpus

# More GPUs than any machine has.
ABSENT = "cuda:999"
PARTS = {
    "training-worker": ["-m", "training_worker"],
    "inference-worker": ["-m", "inference_worker"],
    "headrace up": ["-m", "headrace.cli", "up"],
}
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("HEADRACE_")}
GPUS = [Gpu(index, f"gpu {index}", f"GPU-{index}", 1 << 30) for index in range(3)]
WORKERS = [("training-1", JobKind.TRAINING), ("inference-1", JobKind.INFERENCE), ("publishing-1", JobKind.PUBLISHING)]
MANY = [*WORKERS, ("inference-2", JobKind.INFERENCE), ("inference-3", JobKind.INFERENCE)]


def ended(part: list[str], folder: Path, device: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *part],
        env=ENVIRONMENT | variables | {"HEADRACE_DEVICE": device},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("part", PARTS)
def test_a_device_that_is_not_there_is_one_line_and_exit_code_78(part: str, tmp_path: Path) -> None:
    process = ended(PARTS[part], tmp_path, ABSENT)

    assert process.returncode == os.EX_CONFIG, process.stderr
    assert process.stderr.startswith(f"{part}: HEADRACE_DEVICE: there is no {ABSENT}; ")
    assert process.stderr.count("\n") == 1


@pytest.mark.parametrize("device", ["gpu", "cuda:", "cuda:-1", "cuda:1.0", "CUDA", "cuda:1,cuda:2", "cuda:0\n", ""])
@pytest.mark.parametrize("settings", [TrainingSettings, InferenceSettings])
def test_what_names_no_device_is_refused(settings: type[RuntimeSettings], device: str) -> None:
    with pytest.raises(SettingsRejected, match=r"^HEADRACE_DEVICE: "):
        from_environ(settings, prefix="HEADRACE_", environ={"HEADRACE_DEVICE": device})
    with pytest.raises(SettingsRejected, match=r"^HEADRACE_DEVICE: "):
        assigned(WORKERS, device, GPUS)


def test_a_refusal_names_the_gpus_that_are_there(tmp_path: Path) -> None:
    process = ended(PARTS["training-worker"], tmp_path, "cuda:2", **two_gpus(tmp_path))

    assert process.returncode == os.EX_CONFIG
    assert "there is no cuda:2" in process.stderr
    assert "cuda:0 (Stand-in 0), cuda:1 (Stand-in 1)" in process.stderr


def test_an_inference_worker_ends_at_its_start_if_its_gpu_cannot_be_used(tmp_path: Path) -> None:
    """ONNX Runtime itself would use the CPU."""
    process = ended(PARTS["inference-worker"], tmp_path, "cuda:1", **two_gpus(tmp_path))

    assert process.returncode == os.EX_CONFIG, process.stderr
    assert process.stderr.splitlines()[-1].startswith("inference-worker: HEADRACE_DEVICE: ")


def test_the_smallest_model_is_one() -> None:
    """It is loaded to find out whether a GPU can be used."""
    model = onnx.load_from_string(_SMALLEST_MODEL)
    onnx.checker.check_model(model)

    assert [node.op_type for node in model.graph.node] == ["Identity"]
    session = onnxruntime.InferenceSession(_SMALLEST_MODEL, providers=["CPUExecutionProvider"])
    assert session.run(None, {"x": np.ones(1, np.float32)})[0].tolist() == [1.0]


def test_workers_that_compute_take_turns() -> None:
    devices = assigned(MANY, "auto", GPUS)

    assert {name: gpu.index for name, gpu in devices.gpus.items()} == {
        "training-1": 0, "inference-1": 1, "inference-2": 2, "inference-3": 0,
    }  # fmt: skip
    assert devices.environment["inference-1"] == {"CUDA_VISIBLE_DEVICES": "GPU-1"}
    assert devices.warnings == ("training-1 and inference-3 share the GPU cuda:0 and its memory",)


def test_two_workers_share_no_gpu_where_there_are_two() -> None:
    for wanted in ("auto", "cuda"):
        devices = assigned(WORKERS, wanted, GPUS[:2])

        assert [gpu.index for gpu in devices.gpus.values()] == [0, 1]
        assert devices.warnings == ()


def test_a_gpu_that_the_setting_names_is_that_of_all() -> None:
    devices = assigned(WORKERS, "cuda:1", GPUS)

    assert [gpu.index for gpu in devices.gpus.values()] == [1, 1]
    assert devices.environment == {}
    assert devices.warnings == ("training-1 and inference-1 share the GPU cuda:1 and its memory",)


def test_a_single_gpu_is_left_as_the_driver_shows_it() -> None:
    devices = assigned(WORKERS, "auto", GPUS[:1])

    assert devices.environment == {}
    assert len(devices.warnings) == 1


@pytest.mark.parametrize(("wanted", "gpus"), [("auto", []), ("cpu", GPUS), ("cpu", [])])
def test_on_the_cpu_nothing_is_assigned(wanted: str, gpus: list[Gpu]) -> None:
    assert assigned(WORKERS, wanted, gpus) == ({}, {}, ())


def test_a_gpu_that_is_wanted_must_be_there() -> None:
    for wanted in ("cuda", "cuda:0"):
        with pytest.raises(SettingsRejected, match="there is no cuda:0"):
            assigned(WORKERS, wanted, [])
