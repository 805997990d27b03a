"""Where to train, and how to make it repeatable."""

import random

import numpy as np
import torch
from shared_schemas.service.process import processor


def choose(wanted: str) -> torch.device:
    """auto: CUDA where there is a device, else the CPU."""
    if wanted == "cuda" or (wanted == "auto" and torch.cuda.is_available()):
        return torch.device("cuda")
    return torch.device("cpu")


def describe(device: torch.device) -> str:
    if device.type == "cuda":
        return f"cuda ({torch.cuda.get_device_name(device)})"
    return f"cpu ({torch.get_num_threads()} threads)"


def facts(device: torch.device) -> dict[str, str]:
    """On what the last bits of a sum depend."""
    kind = f"cuda {torch.cuda.get_device_name(device)}" if device.type == "cuda" else "cpu"
    threads = str(torch.get_num_threads())
    return {"device": kind, "processor": processor(), "threads": threads, "torch": str(torch.__version__)}


def seed_everything(seed: int) -> None:
    """The same seed gives the same weights, bit for bit on a CPU with the same number of threads."""
    random.seed(seed)
    np.random.seed(seed % 2**32)  # recipes of users may draw from the global generator
    torch.manual_seed(seed)
    # The same as use_deterministic_algorithms(True, warn_only=True), which imports the compiler: four seconds.
    torch.set_deterministic_debug_mode("warn")
    torch.backends.cudnn.benchmark = False


def limit_threads(threads: int) -> None:
    """threads: of torch on the CPU; 0 leaves it alone."""
    if threads:
        torch.set_num_threads(threads)
