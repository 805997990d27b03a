"""Checks a file in a child process: verifies and scans it, loads it, and runs the model once.

Knows no job. Whoever calls it must expect that it never returns, or ends the process.
"""

import re
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import anyio
import msgspec
import numpy as np
from shared_schemas.errors import AttemptFailed, HeadraceError
from shared_schemas.inputs.tensors import MOST_DIMENSIONS
from shared_schemas.models import ModelDescription, ModelManifest, ModelRef, TensorSpec
from shared_schemas.store.files import ArtifactStore

from inference_worker.engines.batching import BatchingEngine
from inference_worker.engines.session import OrtSession, Stop, runtime_facts
from inference_worker.model import LoadedModel, limits_of, open_decoder, verified
from inference_worker.onnx_file import check_is_one_file, check_size
from inference_worker.publishing.contents import Contents, read_contents
from inference_worker.publishing.messages import Assignment, Checked, Phase
from inference_worker.settings import Settings
from inference_worker.tasks import TASKS
from inference_worker.tensors import Array, numpy_dtype

_MODEL_TYPE = "onnx"
# What ONNX Runtime says when there is no memory left. It has no class of its own for that.
_NO_MEMORY = re.compile(r"bad_alloc|bad alloc|failed to allocate|out of memory|not enough memory", re.IGNORECASE)
_CACHE_BYTES = 16 << 20
_REF = ModelRef("model", 1)


def probe(given: Assignment, *, enter: Callable[[Phase], None]) -> Checked:
    """enter: called before each phase. AttemptFailed: model_unavailable (retryable), model_corrupt,
    model_unsupported, model_timeout, out_of_memory."""
    try:
        return _probe(given, enter)
    except MemoryError as error:
        raise _out_of_memory() from error
    except HeadraceError as error:
        if _is_about_memory(error):
            raise _out_of_memory() from error
        raise


def _probe(given: Assignment, enter: Callable[[Phase], None]) -> Checked:
    store = ArtifactStore(Path(given.artifacts_root))
    # CUDA reserves more address space than the limit of this process.
    settings = Settings(device="cpu", run_timeout_s=min(given.timeout_s, 3600.0))
    enter("checking")
    # Before the whole file is read.
    check_size(given.onnx.n_bytes)
    path = verified(store, given.onnx)
    check_is_one_file(path)
    contents = read_contents(path, allowed_domains=frozenset(given.allowed_domains))
    enter("loading")
    session = OrtSession(path, device=settings.device, intra_op_threads=given.description.threads or 0)
    manifest = _manifest(given, session, contents)
    limits = limits_of(manifest, settings.batching)
    if manifest.decoder is not None:
        enter("running")
        # The cache of a worker has more address space than this process may have.
        small = msgspec.structs.replace(settings, written_texts=2, text_cache_bytes=_CACHE_BYTES)
        engine_facts = open_decoder(session, manifest, small, partial(verified, store))[0].facts
        return Checked(manifest=manifest, ran=True, facts=runtime_facts("cpu") | session.facts | engine_facts)
    engine = BatchingEngine(session, limits, run_timeout_s=settings.run_timeout_s)
    task = TASKS[manifest.task](manifest, session, engine, partial(verified, store))
    loaded = LoadedModel(ref=_REF, manifest=manifest, session=session, engine=engine, task=task)
    enter("running")
    if task.takes_ones:
        anyio.run(_run_as_served, loaded)
        ran = True
    else:
        ran = _runs(session, manifest.inputs)
    return Checked(manifest=manifest, ran=ran, facts=runtime_facts(settings.device) | session.facts)


def _manifest(given: Assignment, session: OrtSession, contents: Contents) -> ModelManifest:
    described = {field: getattr(given.description, field) for field in ModelDescription.__struct_fields__}
    if not session.outputs:
        raise AttemptFailed("model_unsupported", "the model has no outputs")
    for spec in (*session.inputs, *session.outputs):
        if len(spec.shape or ()) > MOST_DIMENSIONS:
            raise AttemptFailed(
                "model_unsupported",
                f"{spec.name[:64]!r} has {len(spec.shape or ())} dimensions; tensors of jobs have at most "
                f"{MOST_DIMENSIONS}",
            )
    return ModelManifest(
        **described,
        model_type=_MODEL_TYPE,
        onnx=given.onnx,
        inputs=_with_ranks(session.inputs, contents),
        outputs=_with_ranks(session.outputs, contents),
        opset=contents.opset,
    )


def _with_ranks(specs: Sequence[TensorSpec], contents: Contents) -> tuple[TensorSpec, ...]:
    """ONNX Runtime shows a shape of [] both for a scalar and for a tensor of any rank."""
    return tuple(
        msgspec.structs.replace(spec, shape=None) if not spec.shape and spec.name in contents.without_shape else spec
        for spec in specs
    )


async def _run_as_served(loaded: LoadedModel) -> None:
    """Run the model as its first job would. AttemptFailed."""
    failure: AttemptFailed | None = None
    async with anyio.create_task_group() as serving:
        await serving.start(loaded.engine.run)
        try:
            await loaded.warm_up()
        except AttemptFailed as error:
            failure = error
        serving.cancel_scope.cancel()
    if failure is not None and _is_about_time(failure):
        raise AttemptFailed("model_timeout", "the model did not end its first run in time") from failure
    if failure is not None:
        raise failure


def _runs(session: OrtSession, inputs: Sequence[TensorSpec]) -> bool:
    """Whether the model takes tensors of ones. If not, it may still take others, as a Reshape does
    that is told the shape."""
    try:
        feed = {spec.name: _ones(spec) for spec in inputs}
    except ValueError as error:  # numpy raises it instead of MemoryError for a size beyond its integers
        raise _out_of_memory() from error
    try:
        session.run(feed, Stop())
    except AttemptFailed as error:
        if _is_about_memory(error):
            raise
        return False
    return True


def _ones(spec: TensorSpec) -> Array:
    shape = [size if isinstance(size, int) and size >= 0 else 1 for size in ([1] if spec.shape is None else spec.shape)]
    return np.full(shape, "1" if spec.dtype == "string" else 1, numpy_dtype(spec.dtype))


def _is_about_memory(error: BaseException) -> bool:
    cause = error.__cause__
    if cause is None:
        return False
    return isinstance(cause, MemoryError) or _NO_MEMORY.search(str(cause)) is not None or _is_about_memory(cause)


def _is_about_time(error: BaseException) -> bool:
    cause = error.__cause__
    return isinstance(cause, TimeoutError) or (
        isinstance(cause, HeadraceError) and cause.info().code == "model_timeout"
    )


def _out_of_memory() -> AttemptFailed:
    return AttemptFailed("out_of_memory", "the model needs more memory than HEADRACE_PROBE_MEMORY_BYTES to run once")
