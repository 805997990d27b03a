"""The NVIDIA GPUs that this process may use, as their driver shows them. It makes no context of CUDA,
so it takes no memory of a GPU. Knows no library that computes.
"""

import ctypes
import functools
import re
import uuid
from collections.abc import Sequence
from typing import Any

import msgspec

from shared_schemas.service.settings import SettingsRejected

# What HEADRACE_DEVICE may be.
DEVICE_PATTERN = r"^(auto|cpu|cuda(:[0-9]{1,3})?)\Z"
_LONGEST_NAME = 128


class Gpu(msgspec.Struct, frozen=True):
    """index: in the order of CUDA. uuid: as CUDA_VISIBLE_DEVICES takes it. memory_bytes: in all."""

    index: int
    name: str
    uuid: str
    memory_bytes: int

    @property
    def device(self) -> str:
        """As HEADRACE_DEVICE names it."""
        return f"cuda:{self.index}"


@functools.cache
def visible_gpus() -> tuple[Gpu, ...]:
    """Empty without a GPU or its driver. Follows CUDA_VISIBLE_DEVICES, which is read once."""
    driver = _library("libcuda.so.1")
    count = ctypes.c_int(0)
    if driver is None or driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return ()
    return tuple(gpu for index in range(count.value) if (gpu := _gpu(driver, index)) is not None)


def chosen(wanted: str, gpus: Sequence[Gpu]) -> Gpu | None:
    """wanted: auto, cpu, cuda or cuda:N. -> the GPU, None for the CPU. SettingsRejected if it is not there."""
    if re.match(DEVICE_PATTERN, wanted) is None:
        raise SettingsRejected("HEADRACE_DEVICE: expected auto, cpu, cuda, or cuda:N with a number N")
    if wanted == "cpu" or (wanted == "auto" and not gpus):
        return None
    index = int(wanted.partition(":")[2] or 0)
    for gpu in gpus:
        if gpu.index == index:
            return gpu
    seen = ", ".join(f"{gpu.device} ({gpu.name})" for gpu in gpus) or "none"
    raise SettingsRejected(f"HEADRACE_DEVICE: there is no cuda:{index}; the GPUs that this process may use: {seen}")


def used_bytes(gpu: Gpu) -> int | None:
    """The memory of a GPU that all processes use together; None if the driver does not tell. A call
    may not return if the GPU is broken."""
    management = _management()
    handle, memory = ctypes.c_void_p(), _Memory()
    if management is None or management.nvmlDeviceGetHandleByUUID(gpu.uuid.encode(), ctypes.byref(handle)) != 0:
        return None
    if management.nvmlDeviceGetMemoryInfo(handle, ctypes.byref(memory)) != 0:
        return None
    return int(memory.used)


class _Memory(ctypes.Structure):
    """nvmlMemory_t"""

    _fields_ = (("total", ctypes.c_ulonglong), ("free", ctypes.c_ulonglong), ("used", ctypes.c_ulonglong))


def _gpu(driver: Any, index: int) -> Gpu | None:
    device, memory = ctypes.c_int(), ctypes.c_size_t()
    name, digits = ctypes.create_string_buffer(_LONGEST_NAME), (ctypes.c_ubyte * 16)()
    if driver.cuDeviceGet(ctypes.byref(device), index) != 0:
        return None
    codes = (
        driver.cuDeviceGetName(name, _LONGEST_NAME, device),
        driver.cuDeviceTotalMem_v2(ctypes.byref(memory), device),
        driver.cuDeviceGetUuid(digits, device),
    )
    if any(codes):
        return None
    return Gpu(index, name.value.decode(errors="replace"), f"GPU-{uuid.UUID(bytes=bytes(digits))}", memory.value)


@functools.cache
def _management() -> Any:
    """NVIDIA's management library, None if there is none."""
    library = _library("libnvidia-ml.so.1")
    return None if library is None or library.nvmlInit_v2() != 0 else library


def _library(name: str) -> Any:
    try:
        return ctypes.CDLL(name)
    except OSError:
        return None
