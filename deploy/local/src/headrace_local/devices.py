"""Which GPU each worker of `headrace up` gets. Starts nothing, and looks for no GPU itself."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from shared_schemas.kinds import JobKind
from shared_schemas.service.gpus import Gpu, chosen

from headrace_local.programs import PROGRAMS


class Devices(NamedTuple):
    """environment: for each worker, what its environment has besides. gpus: the GPU of each worker
    that has one. warnings: a sentence for each GPU that several workers share."""

    environment: Mapping[str, Mapping[str, str]]
    gpus: Mapping[str, Gpu]
    warnings: Sequence[str]


def assigned(workers: Sequence[tuple[str, JobKind]], wanted: str, gpus: Sequence[Gpu]) -> Devices:
    """workers: their names and kinds. wanted: HEADRACE_DEVICE. Workers that compute take turns, one
    GPU each, unless wanted names the GPU of all. SettingsRejected if it is not there."""
    computing = [name for name, kind in workers if "device" in PROGRAMS[kind].load_settings().__struct_fields__]
    first = chosen(wanted, gpus) if computing else None
    if first is None:
        return Devices({}, {}, ())
    usable = [first] if ":" in wanted else gpus
    given = {name: usable[place % len(usable)] for place, name in enumerate(computing)}
    # A worker that sees one GPU only cannot take memory of another by mistake.
    environment = {name: {"CUDA_VISIBLE_DEVICES": gpu.uuid} for name, gpu in given.items()} if len(usable) > 1 else {}
    return Devices(environment, given, tuple(_warnings(given)))


def _warnings(given: Mapping[str, Gpu]) -> list[str]:
    sharing: dict[str, list[str]] = {}
    for name, gpu in given.items():
        sharing.setdefault(gpu.device, []).append(name)
    return [
        f"{' and '.join(names)} share the GPU {device} and its memory"
        for device, names in sharing.items()
        if len(names) > 1
    ]
