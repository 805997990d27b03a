"""All that can be set of an inference worker; read from the environment once, in __main__."""

from typing import Annotated

from msgspec import Meta
from worker_runtime.settings import RuntimeSettings

from inference_worker.batcher import BatchLimits
from inference_worker.session import Device


class Settings(RuntimeSettings, frozen=True, kw_only=True):
    """artifacts_root: the folder of the artifact store that the training workers write to.
    slots: jobs that are worked on at once. They share batches, so twice max_batch keeps a model busy.
    items_in_flight: inputs of one job that are worked on at once.
    models_bytes: how large the files of all loaded models may be together; beyond it the one that has been idle
    longest is unloaded. Memory use is about twice that.
    max_batch, max_batch_elements, max_wait_ms: see batcher.BatchLimits.
    intra_op_threads: threads of one run, 0 for one per core; fewer where training shares the machine.
    run_timeout_s: longest run of one batch. device: auto takes CUDA where it works."""

    artifacts_root: str = "/data/artifacts"
    slots: Annotated[int, Meta(ge=1, le=10_000)] = 64
    items_in_flight: Annotated[int, Meta(ge=1, le=4096)] = 64
    models_bytes: Annotated[int, Meta(ge=1)] = 4 << 30
    max_batch: Annotated[int, Meta(ge=1, le=4096)] = 32
    max_batch_elements: Annotated[int, Meta(ge=1)] = 16_384
    max_wait_ms: Annotated[float, Meta(ge=0.0, le=10_000.0)] = 0.0
    intra_op_threads: Annotated[int, Meta(ge=0, le=1024)] = 0
    run_timeout_s: Annotated[float, Meta(gt=0.0, le=3600.0)] = 60.0
    device: Device = "auto"

    @property
    def batching(self) -> BatchLimits:
        return BatchLimits(max_batch=self.max_batch, max_elements=self.max_batch_elements, max_wait_ms=self.max_wait_ms)
