"""What can be set about the training worker, beyond the runtime's settings."""

from typing import Annotated, Literal

from msgspec import Meta
from worker_runtime import RuntimeSettings


class TrainingSettings(RuntimeSettings, frozen=True, kw_only=True):
    """data_root: the folder that data_path is looked up in. artifacts_root: where models and checkpoints are kept, the
    same folder as the inference workers'. device: auto takes a CUDA device where there is one. threads: of torch on the
    CPU; 0 leaves it to torch. stall_timeout_s: a child that has reported nothing for so long is killed and tried again.
    """

    data_root: str = "/data"
    artifacts_root: str = "/data/artifacts"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    threads: Annotated[int, Meta(ge=0, le=1024)] = 0
    stall_timeout_s: Annotated[float, Meta(gt=0.0)] = 120.0
