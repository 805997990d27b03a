"""The metrics that only training workers have. Those of all workers: worker_runtime.metrics."""

from prometheus_client import Counter

STEPS = Counter("headrace_training_steps", "Optimizer steps that were reported")
