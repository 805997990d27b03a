"""What every task must offer. It knows neither jobs nor how models are loaded."""

import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, TypeAlias, TypeVar, runtime_checkable

import msgspec
from shared_schemas.artifacts import ArtifactRef
from shared_schemas.errors import HeadraceError
from shared_schemas.models import ModelManifest
from shared_schemas.specs import InferenceParameters

from inference_worker.engines.batching import BatchingEngine
from inference_worker.graph import Graph
from inference_worker.tensors import Arrays

FinishReason = Literal["stop", "length"]
Reserve: TypeAlias = Callable[[int], None]
Load: TypeAlias = Callable[[ArtifactRef], Path]
A = TypeVar("A", bound=msgspec.Struct)


class Emit(Protocol):
    """tokens: the ids that the chunk was made of, if another attempt could go on from them."""

    def __call__(
        self, index: int, chunk: str, finish_reason: FinishReason | None, /, tokens: tuple[int, ...] = ()
    ) -> Awaitable[None]: ...


class Delivered(msgspec.Struct, frozen=True):
    """What earlier attempts have shown of the answer to one input."""

    text: str
    tokens: tuple[int, ...]
    finish_reason: FinishReason | None


class Request(msgspec.Struct, frozen=True, eq=False):
    """What all inputs of one job share.

    emit(index, chunk, finish_reason): show a part of the answer to input `index` before the answer is complete.
    reserve(n_bytes): ask before making an answer that may be large, whose JSON takes at least so many bytes.
    AttemptFailed result_too_large if the job's result could not be stored with it.
    alone: whether the engine should run each input without others, because the job asks to be reproducible.
    delivered: by the index of the input, what earlier attempts have shown, if it has tokens.
    priority, deadline: which of several texts is written first where not all can be; the lower, then the earlier.
    """

    parameters: InferenceParameters
    seed: int
    emit: Emit
    reserve: Reserve
    alone: bool = False
    priority: int = 0
    deadline: float = math.inf
    delivered: Mapping[int, Delivered] = {}


class ModelTask(Protocol[A]):
    """The task of one loaded model. A: the type of its answers.

    takes_many_runs: one answer takes many runs of the model, so even a job with one input can be paused. takes_ones:
    any model of the task can process a row of ones, so a row of ones warms it up and shows whether it runs at all.
    """

    takes_many_runs: ClassVar[bool]
    takes_ones: ClassVar[bool]

    def check_first_outputs(self, outputs: Arrays) -> None:
        """AttemptFailed model_unsupported if the outputs of the warm-up cannot become answers."""

    async def answer(self, item: Any, index: int, request: Request) -> A:
        """The answer to one input. index: of the input in its job. InvalidInput, DataRejected;
        AttemptFailed model_failed, model_timeout, worker_stopping (retryable); WorkerUnfit."""
        ...

    def reproducible(self, answer: A) -> A:
        """The part of an answer that a replay of the job must give again. The job's digest is made of it."""
        ...


@runtime_checkable
class ListTask(Protocol[A]):
    """A ModelTask that answers many inputs of a job together as well, which costs far less than one by one.

    inputs_at_once: how many at most, so that the event loop is never busy with them for long.
    """

    @property
    def inputs_at_once(self) -> int: ...

    async def answer_list(self, items: Sequence[Any], request: Request) -> list[A | HeadraceError]:
        """For each input its answer, or why it has none: InvalidInput, DataRejected; AttemptFailed model_failed,
        model_timeout. Raises what concerns all of them: AttemptFailed worker_stopping (retryable), result_too_large;
        WorkerUnfit."""
        ...


@runtime_checkable
class SampledTask(Protocol):
    """A TaskType whose answers may depend on the seed, and are shown while they grow."""

    def depends_on_seed(self, parameters: InferenceParameters) -> bool: ...

    def as_chunk(self, answer: Any) -> tuple[str, FinishReason]:
        """answer: as JSON decodes it. -> what an answer that is complete at once emits"""
        ...


class TaskType(Protocol):
    """Makes the ModelTask of one model."""

    # Of the ModelTask.
    @property
    def takes_ones(self) -> bool: ...

    def __call__(self, manifest: ModelManifest, graph: Graph, engine: BatchingEngine, load: Load) -> ModelTask[Any]:
        """load: gives the verified file of an artifact. AttemptFailed: model_unsupported if the graph or the manifest
        does not fit the task; model_unavailable and model_corrupt for a file that is needed beside the graph."""
        ...
