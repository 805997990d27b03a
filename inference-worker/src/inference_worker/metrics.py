"""The metrics that only inference workers have. Those of all workers: worker_runtime.metrics."""

from prometheus_client import Counter, Histogram

BATCH_ROWS = Histogram(
    "headrace_inference_batch_rows",
    "Rows in one run of a model",
    buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256, 1024, 4096),
)
CACHE_LOOKUPS = Counter(
    "headrace_inference_cache_lookups",
    "Jobs that asked for a cached result, by what was found: hit, miss, or unavailable if Redis did not answer",
    ["found"],
)
