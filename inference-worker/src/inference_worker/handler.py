"""Runs an inference job, from its spec to its result. It knows neither how models are loaded and batched, nor which
tasks there are.

An answer is what a job returns for one input. The result of a job is its one answer, or the list of its answers.
"""

import hashlib
import math
import time
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property, partial
from typing import Any, NamedTuple

import anyio
import msgspec
from shared_schemas.codec import encode_json
from shared_schemas.errors import AttemptFailed, HeadraceError, InvalidInput, SpecRejected, WorkerUnfit
from shared_schemas.events import Emitted, Progressed
from shared_schemas.inputs import inputs_of
from shared_schemas.kinds import JobKind
from shared_schemas.outcome import Release, Success
from shared_schemas.service.process import processor
from shared_schemas.specs import InferenceSpec, Priority
from shared_schemas.stream.result_cache import ResultCache
from worker_runtime.handler import Attempt, StopReason
from worker_runtime.outbox import PROGRESS_INTERVAL_S
from worker_runtime.running import RESULT_BYTES, RESULT_TOO_LARGE

from inference_worker.caching import Answered, Cache
from inference_worker.engines.invariance import Invariance
from inference_worker.engines.session import device_of, runtime_facts
from inference_worker.loading import LoadedModels
from inference_worker.model import LoadedModel
from inference_worker.results import Refused, refused, without_speed
from inference_worker.sampling import seed_of
from inference_worker.tasks.task import Delivered, FinishReason, ListTask, Request

# How many parts of a list are answered at the same time, at least.
_PARTS = 3
# The lower is served first.
_PRIORITIES = {Priority.HIGH: 0, Priority.NORMAL: 1, Priority.LOW: 2}


class InferenceHandler:
    kind = JobKind.INFERENCE

    def __init__(
        self,
        models: LoadedModels,
        *,
        items_in_flight: int = 64,
        device: str = "auto",
        gpu_unused: str | None = None,
        results: ResultCache | None = None,
    ) -> None:
        """items_in_flight: how many inputs of one job are answered at the same time. gpu_unused: why
        the GPU that is there is not used. results: of earlier jobs, for jobs that ask for them."""
        self._models = models
        self._items_in_flight = items_in_flight
        self._device, self._gpu_unused = device, gpu_unused
        self._cache = None if results is None else Cache(results, facts=runtime_facts(device))
        self._facts = runtime_facts(device) | {"processor": processor()}

    def describe(self) -> dict[str, str]:
        unused = {} if self._gpu_unused is None else {"gpu_unused": self._gpu_unused}
        return runtime_facts(self._device) | {"device": device_of(self._device)} | unused

    async def run(self, attempt: Attempt) -> Success | Release:
        """Answer the inputs of the job. Release if the job was paused. InvalidInput, or the error
        of the model, if no input can be answered."""
        spec = attempt.spec
        if not isinstance(spec, InferenceSpec):
            raise SpecRejected("not an inference job")
        if self._cache is None or not self._cache.serves(attempt, spec):
            return (await self._answered(attempt, spec)).outcome
        manifest = await self._models.manifest_of(spec.model_id)
        return await self._cache.answer(attempt, spec, manifest, partial(self._answered, attempt, spec))

    async def _answered(self, attempt: Attempt, spec: InferenceSpec) -> Answered:
        async with self._models.use(spec.model_id) as model:
            inputs = inputs_of(model.manifest.task, spec.input_data)
            is_again = attempt.number > 1 and model.task.takes_many_runs
            delivered = _delivered(await attempt.emitted()) if is_again else {}
            run = _Run(attempt, spec, model, inputs.items, delivered)
            facts = self._facts | model.facts | _facts_of(model.engine.invariance)
            if not inputs.is_list and not model.task.takes_many_runs:
                return Answered(_success(run.encoded(await run.answer(0)), facts), is_whole=True)
            if not await run.answer_all(at_once=self._items_in_flight):
                return Answered(Release(), is_whole=False)
        encoded = run.answers_to_list() if inputs.is_list else run.answer_to_only()
        return Answered(_success(encoded, facts), is_whole=run.is_whole)


class _Encoded(NamedTuple):
    """JSON. same: of the part of an answer that a replay must give again."""

    answer: bytes
    same: bytes


class _Run:
    """The inputs of one job and the answers so far."""

    def __init__(
        self,
        attempt: Attempt,
        spec: InferenceSpec,
        model: LoadedModel,
        items: tuple[Any, ...],
        delivered: Mapping[int, Delivered],
    ) -> None:
        self._attempt = attempt
        self._task = model.task
        self._items = items
        seed = seed_of(attempt.job_id) if spec.parameters.seed is None else spec.parameters.seed
        self._is_exact = spec.parameters.reproducible
        alone = self._is_exact and model.engine.invariance.sizes is None
        deadline = math.inf if spec.timeout_s is None else time.monotonic() + spec.timeout_s
        self._request = Request(
            spec.parameters, seed, self._emit, self._reserve, alone, _PRIORITIES[spec.priority], deadline, delivered
        )
        self._room_bytes = RESULT_BYTES
        # By the place of the first of several answers, which are separated by commas.
        self._answers: dict[int, _Encoded] = {}
        self._n_answers = 0
        self._errors: dict[int, HeadraceError] = {}
        self._progress_due = 0.0

    @cached_property
    def _list_task(self) -> ListTask[Any] | None:
        # Only lists need it, and to compare a class with a protocol takes as long as a small model.
        return self._task if isinstance(self._task, ListTask) else None

    async def answer_all(self, *, at_once: int) -> bool:
        """False if the job was paused before all were answered."""
        step = 1 if self._list_task is None else self._list_task.inputs_at_once
        left = iter(range(0, len(self._items), step))

        async def watch() -> None:
            # A drain needs nothing here: answers take seconds, and the runtime cancels a job that
            # takes longer.
            if await self._attempt.stopped() is StopReason.PAUSED:
                work.cancel_scope.cancel()

        async def answer_some() -> None:
            for first in left:
                await self._answer_in_place(range(first, min(first + step, len(self._items))))

        try:
            async with anyio.create_task_group() as watching:
                async with anyio.create_task_group() as work:
                    watching.start_soon(watch)
                    # With several parts on their way, the model never waits for the next one to be read.
                    for _ in range(max(_PARTS, min(at_once, len(self._items)) // step)):
                        work.start_soon(answer_some)
                watching.cancel_scope.cancel()
        except ExceptionGroup as group:
            raise _first(group) from group
        return self._n_answers == len(self._items)

    async def answer(self, index: int) -> msgspec.Struct:
        """InvalidInput, AttemptFailed."""
        answer: msgspec.Struct = await self._task.answer(self._items[index], index, self._request)
        return answer

    @property
    def is_whole(self) -> bool:
        """Whether no answer so far is an error."""
        return not self._errors

    def answer_to_only(self) -> _Encoded:
        if self._errors:
            raise self._errors[0]
        return self._answers[0]

    def answers_to_list(self) -> _Encoded:
        """The answers in the order of the inputs. Raises if all inputs were refused, or if one
        failed with a retryable error, because another attempt may answer all of them."""
        for error in self._errors.values():
            if error.info().retryable:
                raise error
        if len(self._errors) == len(self._items):
            info = self._errors[0].info()
            raise AttemptFailed(info.code, f"no input could be used; the first: {info.message}")
        return _joined(self._answers[place] for place in sorted(self._answers))

    def encoded(self, answer: msgspec.Struct) -> _Encoded:
        return _Encoded(encode_json(answer), encode_json(self._same(answer)))

    def _encoded_list(self, answers: Sequence[msgspec.Struct | HeadraceError]) -> _Encoded:
        """Without the brackets."""
        shown = [refused(answer) if isinstance(answer, HeadraceError) else answer for answer in answers]
        same = [one if isinstance(one, Refused) else self._same(one) for one in shown]
        return _Encoded(encode_json(shown)[1:-1], encode_json(same)[1:-1])

    def _same(self, answer: msgspec.Struct) -> msgspec.Struct:
        answer = without_speed(answer)
        if self._is_exact:
            return answer
        same: msgspec.Struct = self._task.reproducible(answer)
        return same

    async def _answer_in_place(self, places: range) -> None:
        answers = await self._answers_or_errors(places)
        self._errors |= {
            place: answer for place, answer in zip(places, answers, strict=True) if isinstance(answer, HeadraceError)
        }
        # Encoded at once, while the model runs, because all answers of a long list would take seconds.
        self._answers[places.start] = self._encoded_list(answers)
        self._n_answers += len(places)
        n_done, n_items, now = self._n_answers, len(self._items), time.monotonic()
        if n_items > 1 and (n_done == n_items or now >= self._progress_due):
            self._progress_due = now + PROGRESS_INTERVAL_S
            await self._attempt.record(Progressed(fraction=n_done / n_items, step=n_done, total=n_items))

    async def _answers_or_errors(self, places: range) -> list[msgspec.Struct | HeadraceError]:
        try:
            if self._list_task is not None:
                return await self._list_task.answer_list(self._items[places.start : places.stop], self._request)
            return [await self.answer(place) for place in places]
        except WorkerUnfit:
            raise
        except (InvalidInput, AttemptFailed) as error:
            return [error] * len(places)

    async def _emit(
        self, index: int, chunk: str, finish_reason: FinishReason | None, /, tokens: tuple[int, ...] = ()
    ) -> None:
        await self._attempt.record(Emitted(chunk=chunk, index=index, finish_reason=finish_reason, tokens=tokens))

    def _reserve(self, n_bytes: int) -> None:
        if n_bytes > self._room_bytes:
            raise AttemptFailed(RESULT_TOO_LARGE.code, RESULT_TOO_LARGE.message)
        self._room_bytes -= n_bytes


def _first(group: ExceptionGroup[Exception]) -> Exception:
    error = group.exceptions[0]
    return _first(error) if isinstance(error, ExceptionGroup) else error


def _delivered(events: Sequence[Emitted]) -> dict[int, Delivered]:
    """Of the inputs whose every event has tokens."""
    by_index: dict[int, list[Emitted]] = {}
    for event in events:
        by_index.setdefault(event.index, []).append(event)
    return {
        index: Delivered(
            "".join(event.chunk for event in parts),
            tuple(token for event in parts for token in event.tokens),
            parts[-1].finish_reason,
        )
        for index, parts in by_index.items()
        if all(event.tokens for event in parts)
    }


def _joined(parts: Iterable[_Encoded]) -> _Encoded:
    answers, same = zip(*parts, strict=True)
    return _Encoded(b"[%s]" % b",".join(answers), b"[%s]" % b",".join(same))


def _facts_of(invariance: Invariance) -> dict[str, str]:
    if not invariance.is_known:
        return {"batch_invariant": "unknown"}
    if invariance.sizes is None:
        return {"batch_invariant": "no"}
    return {"batch_invariant": "yes", "batch_sizes": str(invariance.sizes)}


def _success(encoded: _Encoded, facts: dict[str, str]) -> Success:
    return Success(msgspec.Raw(encoded.answer), hashlib.sha256(encoded.same).hexdigest(), facts)
