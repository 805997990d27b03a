"""The settings of an inference worker, besides those of every worker. Read once, in `__main__`."""

from typing import Annotated

from shared_schemas.service.gpus import DEVICE_PATTERN
from shared_schemas.service.settings import setting
from worker_runtime.settings import RuntimeSettings

from inference_worker.engines.batcher import BatchLimits
from inference_worker.engines.decoding.limits import DecodingLimits


class Settings(RuntimeSettings, frozen=True, kw_only=True):
    """engines.batcher.BatchLimits explains the limits of a batch."""

    artifacts_root: Annotated[
        str,
        setting(
            "The folder of models and checkpoints. Training workers must use the same one",
            change="the worker runs outside a container",
        ),
    ] = "/data/artifacts"
    slots: Annotated[
        int,
        setting(
            "How many jobs run at once. They share batches",
            change="jobs of one input should fill larger batches. One run has the inputs of at most this many jobs",
            ge=1,
            le=10_000,
        ),
    ] = 64
    items_in_flight: Annotated[
        int,
        setting(
            "How many inputs of one job are processed at once. Of a tabular model, it is at least 3 times 128 rows",
            ge=1,
            le=4096,
        ),
    ] = 64
    models_bytes: Annotated[
        int,
        setting(
            "The most bytes that the files of all loaded models may have together. Beyond that, the model that has "
            "been idle longest is unloaded",
            change="there is less or more memory. Models use about twice this value",
            ge=1,
        ),
    ] = 4 << 30
    pinned_models: Annotated[
        tuple[str, ...],
        setting(
            "Models to load at the start and never to unload, comma-separated, as jobs name them: wine, wine@3 or "
            "wine@prod. If a name or an alias moves to another version, so does this",
            change="the first job for a model should not wait until it is loaded",
        ),
    ] = ()
    max_batch: Annotated[
        int, setting("The most rows in one run of a model. A longer list runs in parts", ge=1, le=4096)
    ] = 128
    max_batch_elements: Annotated[
        int,
        setting(
            "The most numbers in one run, with padding", change="a GPU has room for more, or runs out of memory", ge=1
        ),
    ] = 16_384
    max_wait_ms: Annotated[
        float,
        setting(
            "How long a batch that is not full waits for more inputs, in milliseconds. With 0, an idle model "
            "never waits",
            change="throughput matters more than latency, and jobs arrive one by one",
            ge=0.0,
            le=10_000.0,
        ),
    ] = 0.0
    intra_op_threads: Annotated[
        int,
        setting(
            "How many threads one run uses; 0 for one per core",
            change="training runs on the same machine",
            ge=0,
            le=1024,
        ),
    ] = 0
    cache_entries: Annotated[
        int,
        setting(
            "How many results of a queue the cache finds again, for jobs with `cache`. The oldest make room for new "
            "ones. 0 turns the cache off",
            change="more questions come again. Each takes less than 500 bytes of Redis; results stay in their jobs",
            ge=0,
            le=10_000_000,
        ),
    ] = 10_000
    cache_age_s: Annotated[
        float,
        setting(
            "For how long the cache finds a result, in seconds. It finds none whose job has expired or was deleted",
            ge=1.0,
            le=365 * 86_400.0,
        ),
    ] = 86_400.0
    written_texts: Annotated[
        int,
        setting(
            "How many texts one language model with a cache writes at once. More wait",
            change="there are more jobs at once and more cores",
            ge=1,
            le=256,
        ),
    ] = 16
    text_cache_bytes: Annotated[
        int,
        setting(
            "The most memory for the keys and values of the texts that one language model writes, in bytes. A text is "
            "admitted once all that it may need is free. A text that needs more is refused",
            change="texts are long, or there is less memory",
            ge=1 << 20,
        ),
    ] = 1 << 30
    prompt_cache_bytes: Annotated[
        int,
        setting(
            "The most memory for beginnings of prompts that one language model keeps, in bytes, beside that for its "
            "texts. A prompt with such a beginning does not read it again. 0 keeps none",
            change="many prompts begin alike, or none do",
            ge=0,
        ),
    ] = 256 << 20
    prompt_step_ms: Annotated[
        float,
        setting(
            "How long a language model reads prompts before it goes on with the texts that it writes, in milliseconds. "
            "It reads 16 tokens at least",
            change="texts should flow more evenly, or prompts should be read sooner",
            gt=0.0,
            le=10_000.0,
        ),
    ] = 100.0
    run_timeout_s: Annotated[
        float,
        setting(
            "The longest time for one run of a batch, in seconds. The rows of a batch that took longer run one by one",
            change="a model is slower",
            gt=0.0,
            le=3600.0,
        ),
    ] = 60.0
    probe_s: Annotated[
        float,
        setting(
            "How long a model is tried at most when it is loaded, in seconds of CPU time, to find the sizes of batches "
            "in which a row has the same bits. 0 turns it off",
            change="large models should be tried as well, or no job asks to be reproducible",
            ge=0.0,
            le=600.0,
        ),
    ] = 1.0
    device: Annotated[
        str,
        setting(
            "What models run on: cpu, or a GPU: cuda:0 is the first one, cuda:1 the second, and cuda is cuda:0. auto "
            "is cuda:0 if it can be used, else cpu",
            change="the machine has several GPUs, or models should stay off the GPU",
            pattern=DEVICE_PATTERN,
        ),
    ] = "auto"

    @property
    def decoding(self) -> DecodingLimits:
        return DecodingLimits(
            max_rows=self.written_texts,
            cache_bytes=self.text_cache_bytes,
            prefix_bytes=self.prompt_cache_bytes,
            reading_ms=self.prompt_step_ms,
        )

    @property
    def batching(self) -> BatchLimits:
        return BatchLimits(max_batch=self.max_batch, max_elements=self.max_batch_elements, max_wait_ms=self.max_wait_ms)
