"""What can be set about the training worker, beyond the runtime's settings."""

from typing import Annotated, Literal

from shared_schemas.settings import setting
from worker_runtime import RuntimeSettings


class TrainingSettings(RuntimeSettings, frozen=True, kw_only=True):
    data_root: Annotated[str, setting("folder that data_path is looked up in", change="always outside containers")] = (
        "/data"
    )
    artifacts_root: Annotated[
        str,
        setting(
            "folder of models and checkpoints, the same as the inference workers'", change="always outside containers"
        ),
    ] = "/data/artifacts"
    device: Annotated[Literal["auto", "cpu", "cuda"], setting("auto takes a CUDA device where there is one")] = "auto"
    threads: Annotated[
        int, setting("of torch on the CPU; 0 leaves it to torch", change="workers share the cores", ge=0, le=1024)
    ] = 0
    stall_timeout_s: Annotated[
        float,
        setting(
            "a training process that has reported nothing for so long is killed and tried again, s",
            change="one step takes longer than that, or reading the data",
            gt=0.0,
        ),
    ] = 120.0
    start_timeout_s: Annotated[
        float,
        setting(
            "loading PyTorch before the first step may take so long, and so may the export after the last, s",
            change="the machine is overloaded, or loads PyTorch from a slow disk",
            gt=0.0,
        ),
    ] = 600.0
    metric_events: Annotated[
        int,
        setting(
            "metric events of a split that a run tells one by one; of what comes after it tells the first, the last and"
            " the extremes of each stretch, about as many again, and keeps all of it in a file",
            change="curves need more points; each costs Redis about 250 bytes",
            ge=8,
            le=1_000_000,
        ),
    ] = 1000
    checkpoints_kept: Annotated[
        int,
        setting(
            "how many of a job's newest checkpoints are kept, beside its best one",
            change="people start other jobs from older ones by hand, or the disk is short",
            ge=1,
            le=1_000_000,
        ),
    ] = 3
    artifacts_grace_s: Annotated[
        float,
        setting(
            "a file of the artifact store that nothing refers to is removed when it is older than this, s; 0 for never",
            change="Redis may be away for longer than that, or the disk is short",
            ge=0.0,
        ),
    ] = 86_400.0
