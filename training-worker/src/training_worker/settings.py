"""The settings of a training worker, besides those of every worker. Read once, in `__main__`."""

from typing import Annotated

from shared_schemas.service.gpus import DEVICE_PATTERN
from shared_schemas.service.settings import setting
from worker_runtime import RuntimeSettings


class TrainingSettings(RuntimeSettings, frozen=True, kw_only=True):
    data_root: Annotated[
        str,
        setting(
            "The folder that contains the data sets. data_path is relative to it",
            change="the worker runs outside a container",
        ),
    ] = "/data"
    artifacts_root: Annotated[
        str,
        setting(
            "The folder of models and checkpoints. Inference workers must use the same one",
            change="the worker runs outside a container",
        ),
    ] = "/data/artifacts"
    device: Annotated[
        str,
        setting(
            "What training runs on: cpu, or a GPU: cuda:0 is the first one, cuda:1 the second, and cuda is cuda:0. "
            "auto is cuda:0 if it can be used, else cpu",
            change="the machine has several GPUs, or training should stay off the GPU",
            pattern=DEVICE_PATTERN,
        ),
    ] = "auto"
    threads: Annotated[
        int,
        setting(
            "How many threads PyTorch uses on the CPU; with 0, PyTorch decides",
            change="several workers share the cores",
            ge=0,
            le=1024,
        ),
    ] = 0
    niceness: Annotated[
        int,
        setting(
            "How far training processes give way to all others on the machine, from 0, not at all, to 19",
            change="training should take its share of the cores beside inference",
            ge=0,
            le=19,
        ),
    ] = 10
    stall_timeout_s: Annotated[
        float,
        setting(
            "A training process that reports nothing for so many seconds is killed, and the job is retried",
            change="one step, or reading the data, takes longer",
            gt=0.0,
        ),
    ] = 120.0
    start_timeout_s: Annotated[
        float,
        setting(
            "The longest time to load PyTorch before the first step, and to export after the last one, in seconds",
            change="the machine is overloaded, or loads PyTorch from a slow disk",
            gt=0.0,
        ),
    ] = 600.0
    metric_events: Annotated[
        int,
        setting(
            "How many metric events of a split a run sends one by one. Later it sends only the first, the last and the "
            "extremes of each stretch of steps, about as many again, and keeps all metrics in a file",
            change="curves need more points. Each costs about 250 bytes in Redis",
            ge=8,
            le=1_000_000,
        ),
    ] = 1000
    checkpoints_kept: Annotated[
        int,
        setting(
            "How many of the newest checkpoints of a job are kept, besides its best one",
            change="people start jobs from older checkpoints by hand, or disk space is short",
            ge=1,
            le=1_000_000,
        ),
    ] = 3
    artifacts_grace_s: Annotated[
        float,
        setting(
            "The age in seconds at which a file of the artifact store is removed if nothing refers to it; 0 for never",
            change="Redis may be away for longer, or disk space is short",
            ge=0.0,
        ),
    ] = 86_400.0
