"""Names the program that runs the jobs of each kind. Starts none."""

from importlib import import_module
from typing import NamedTuple

import msgspec
from shared_schemas.kinds import JobKind


class Program(NamedTuple):
    """module: what `python -m` runs. settings: the name of its Struct in the module's
    `settings`. is_measured: whether it serves metrics at HEADRACE_METRICS_PORT."""

    module: str
    settings: str
    is_measured: bool = True

    def load_settings(self) -> type[msgspec.Struct]:
        settings: type[msgspec.Struct] = getattr(import_module(f"{self.module}.settings"), self.settings)
        return settings


PROGRAMS = {
    JobKind.TRAINING: Program("training_worker", "TrainingSettings"),
    JobKind.INFERENCE: Program("inference_worker", "Settings"),
    JobKind.PUBLISHING: Program("inference_worker.publishing", "PublishingSettings", is_measured=False),
}
