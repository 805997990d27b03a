"""The device of a training worker. It never imports torch: that is the child's."""

from importlib.metadata import version

from shared_schemas.service.gpus import chosen, visible_gpus
from shared_schemas.service.settings import SettingsRejected

_NO_CUDA = "this PyTorch is built without CUDA"


def why_not_on_gpu(wanted: str) -> str | None:
    """Why `auto` is the CPU although there is a GPU. None if there is none, or if it is used or not wanted."""
    return _NO_CUDA if wanted == "auto" and visible_gpus() and not _has_cuda() else None


def device_of(wanted: str) -> str:
    """wanted: as HEADRACE_DEVICE. -> cpu or cuda:N. SettingsRejected if it is not there, or if this
    PyTorch cannot use it."""
    gpu = chosen(wanted, visible_gpus())
    if gpu is None:
        return "cpu"
    if _has_cuda():
        return gpu.device
    if wanted == "auto":
        return "cpu"
    raise SettingsRejected(f"HEADRACE_DEVICE: {_NO_CUDA}")


def _has_cuda() -> bool:
    # PyTorch's own builds without CUDA have this in their version.
    return not version("torch").endswith("+cpu")
