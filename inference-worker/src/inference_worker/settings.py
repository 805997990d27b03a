"""The settings of an inference worker, read once from the environment, in __main__."""

from typing import Annotated

from shared_schemas.settings import setting
from worker_runtime.settings import RuntimeSettings

from inference_worker.engines.batcher import BatchLimits
from inference_worker.engines.session import Device


class Settings(RuntimeSettings, frozen=True, kw_only=True):
    """The limits of a batch: see engines.batcher.BatchLimits."""

    artifacts_root: Annotated[
        str,
        setting(
            "folder of models and checkpoints, the same as the training workers'", change="always outside containers"
        ),
    ] = "/data/artifacts"
    slots: Annotated[
        int,
        setting(
            "jobs that are worked on at once; they share batches",
            change="max_batch is changed: twice that keeps a model busy",
            ge=1,
            le=10_000,
        ),
    ] = 64
    items_in_flight: Annotated[int, setting("inputs of one job that are worked on at once", ge=1, le=4096)] = 64
    models_bytes: Annotated[
        int,
        setting(
            "how large the files of all loaded models may be together, bytes; beyond it the one that has been idle "
            "longest is unloaded",
            change="memory is short or plenty: use is about twice that",
            ge=1,
        ),
    ] = 4 << 30
    max_batch: Annotated[int, setting("inputs of one run of a model", ge=1, le=4096)] = 32
    max_batch_elements: Annotated[
        int, setting("padded numbers of one run", change="a GPU has room for more, or runs out of memory", ge=1)
    ] = 16_384
    max_wait_ms: Annotated[
        float,
        setting(
            "how long a batch that is not full waits for company, ms; with 0 an idle model never waits",
            change="throughput matters more than delay, and jobs come one by one",
            ge=0.0,
            le=10_000.0,
        ),
    ] = 0.0
    intra_op_threads: Annotated[
        int, setting("threads of one run, 0 for one per core", change="training shares the machine", ge=0, le=1024)
    ] = 0
    run_timeout_s: Annotated[
        float, setting("longest run of one batch, s", change="a model is slower", gt=0.0, le=3600.0)
    ] = 60.0
    device: Annotated[Device, setting("auto takes CUDA where it works")] = "auto"

    @property
    def batching(self) -> BatchLimits:
        return BatchLimits(max_batch=self.max_batch, max_elements=self.max_batch_elements, max_wait_ms=self.max_wait_ms)
