"""The settings of a publishing worker, besides those of every worker. Read once, in `__main__`."""

from typing import Annotated

from shared_schemas.service.settings import setting
from worker_runtime.settings import RuntimeSettings


class PublishingSettings(RuntimeSettings, frozen=True, kw_only=True):
    artifacts_root: Annotated[
        str,
        setting(
            "The folder of the files. The gateway and the inference workers must use the same one",
            change="the worker runs outside a container",
        ),
    ] = "/data/artifacts"
    probe_memory_bytes: Annotated[
        int,
        setting(
            "The most address space that the process may take that loads a file and runs it once, in bytes. ONNX "
            "Runtime takes about 1 GB of it, and a model several times the size of its file",
            change="there is less memory, or a model needs more",
            ge=1 << 28,
        ),
    ] = 16 << 30
    probe_timeout_s: Annotated[
        float,
        setting(
            "The longest time to check a file, load it and run it once, in seconds",
            change="a model loads more slowly",
            gt=0.0,
            le=86_400.0,
        ),
    ] = 300.0
    allowed_domains: Annotated[
        tuple[str, ...],
        setting(
            "Domains of operators that models may use besides those of ONNX and ONNX Runtime, comma-separated. A "
            "model must define their operators itself, or ONNX Runtime must have them",
            change="a model uses operators of another domain",
        ),
    ] = ()
