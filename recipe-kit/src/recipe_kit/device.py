"""Chooses the device to train on, and makes a run repeatable. Knows no model and no data."""

import random

import numpy as np
import torch
from shared_schemas.errors import AttemptFailed
from shared_schemas.service.process import processor


def choose(wanted: str) -> torch.device:
    """wanted: cpu, cuda, cuda:N, or auto for the first GPU if there is one, else the CPU. What asks for `cuda` later
    gets this GPU too. AttemptFailed if the GPU is not there, or if this PyTorch cannot use it."""
    is_available = torch.cuda.is_available()
    if wanted == "cpu" or (wanted == "auto" and not is_available):
        return torch.device("cpu")
    index = int(wanted.partition(":")[2] or 0)
    if not is_available or index >= torch.cuda.device_count():
        raise AttemptFailed(
            "device_unavailable", f"PyTorch cannot use the GPU cuda:{index} of this worker", retryable=True
        )
    torch.cuda.set_device(index)
    return torch.device("cuda", index)


def describe(device: torch.device) -> str:
    """The device, for a line of the log."""
    if device.type == "cuda":
        return f"cuda ({torch.cuda.get_device_name(device)})"
    return f"cpu ({torch.get_num_threads()} threads)"


def facts(device: torch.device) -> dict[str, str]:
    """What the last bits of a sum depend on, for the facts of a job: device, processor, threads,
    torch."""
    kind = f"cuda {torch.cuda.get_device_name(device)}" if device.type == "cuda" else "cpu"
    threads = str(torch.get_num_threads())
    return {"device": kind, "processor": processor(), "threads": threads, "torch": str(torch.__version__)}


def seed_everything(seed: int) -> None:
    """The same seed gives the same weights, bit for bit on a CPU with the same number of threads."""
    random.seed(seed)
    np.random.seed(seed % 2**32)  # a user's recipe may use the global generator
    torch.manual_seed(seed)
    # The same as use_deterministic_algorithms(True, warn_only=True), which would also import the
    # compiler, and that takes four seconds.
    torch.set_deterministic_debug_mode("warn")
    torch.backends.cudnn.benchmark = False


def limit_threads(threads: int) -> None:
    """threads: of torch on the CPU; 0 lets torch decide."""
    if threads:
        torch.set_num_threads(threads)
