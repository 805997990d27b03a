"""The device of a training worker. It never imports torch: that is the child's."""

from importlib.metadata import version

from shared_schemas.service.gpus import chosen, visible_gpus
from shared_schemas.service.settings import SettingsRejected


def device_of(wanted: str) -> str:
    """wanted: as HEADRACE_DEVICE. -> cpu or cuda:N. SettingsRejected if it is not there, or if this
    PyTorch cannot use it."""
    gpu = chosen(wanted, visible_gpus())
    if gpu is None:
        return "cpu"
    # PyTorch's own builds without CUDA have this in their version.
    if version("torch").endswith("+cpu"):
        if wanted == "auto":
            return "cpu"
        raise SettingsRejected("HEADRACE_DEVICE: this PyTorch is built without CUDA")
    return gpu.device
