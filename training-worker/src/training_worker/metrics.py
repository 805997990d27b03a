"""What a training worker counts beside what every worker does; see worker_runtime.metrics."""

from prometheus_client import Counter

STEPS = Counter("headrace_training_steps", "Optimizer steps that were reported")
