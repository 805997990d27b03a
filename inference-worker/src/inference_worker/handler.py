"""Runs an inference job, from its spec to its result. It knows neither how models are loaded and batched, nor which
tasks there are.

An answer is what a job returns for one input. The result of a job is its one answer, or the list of its answers.
"""

import hashlib
import os
from typing import Any

import anyio
import msgspec
from shared_schemas.codec import encode_json
from shared_schemas.errors import AttemptFailed, HeadraceError, InvalidInput, SpecRejected, WorkerUnfit
from shared_schemas.events import Emitted, Progressed
from shared_schemas.inputs import inputs_of
from shared_schemas.kinds import JobKind
from shared_schemas.outcome import Release, Success
from shared_schemas.service.process import processor
from shared_schemas.specs import InferenceSpec
from worker_runtime.handler import Attempt, StopReason
from worker_runtime.running import RESULT_BYTES, RESULT_TOO_LARGE

from inference_worker.engines.session import Device, runtime_facts
from inference_worker.loading import LoadedModels
from inference_worker.model import LoadedModel
from inference_worker.results import Refused, refused
from inference_worker.sampling import seed_of
from inference_worker.tasks.task import FinishReason, ModelTask, Request


class InferenceHandler:
    kind = JobKind.INFERENCE

    def __init__(
        self, models: LoadedModels, *, items_in_flight: int = 64, device: Device = "auto", threads: int = 0
    ) -> None:
        """items_in_flight: how many inputs of one job are answered at the same time. threads: of
        each model's session; 0 means one for each core."""
        self._models = models
        self._items_in_flight = items_in_flight
        self._device: Device = device
        self._facts = runtime_facts(device) | {"processor": processor(), "threads": str(threads or os.cpu_count() or 1)}

    def describe(self) -> dict[str, str]:
        return runtime_facts(self._device)

    async def run(self, attempt: Attempt) -> Success | Release:
        """Answer the inputs of the job. Release if the job was paused. InvalidInput, or the error
        of the model, if no input can be answered."""
        spec = attempt.spec
        if not isinstance(spec, InferenceSpec):
            raise SpecRejected("not an inference job")
        async with self._models.use(spec.model_id) as model:
            inputs = inputs_of(model.manifest.task, spec.input_data)
            run = _Run(attempt, spec, model, inputs.items)
            facts = self._facts | {"device": model.session.device}
            if not inputs.is_list and not model.task.takes_many_runs:
                return _success(model.task, await run.answer(0), facts)
            if not await run.answer_all(at_once=self._items_in_flight):
                return Release()
        if not inputs.is_list:
            return _success(model.task, run.answer_to_only(), facts)
        return _success(model.task, run.answers_to_list(), facts)


class _Run:
    """The inputs of one job and the answers so far."""

    def __init__(self, attempt: Attempt, spec: InferenceSpec, model: LoadedModel, items: tuple[Any, ...]) -> None:
        self._attempt = attempt
        self._task = model.task
        self._items = items
        seed = seed_of(attempt.job_id) if spec.parameters.seed is None else spec.parameters.seed
        self._request = Request(spec.parameters, seed, self._emit, self._reserve)
        self._room_bytes = RESULT_BYTES
        self._answers: dict[int, msgspec.Struct] = {}
        self._errors: dict[int, HeadraceError] = {}

    async def answer_all(self, *, at_once: int) -> bool:
        """False if the job was paused before all were answered."""
        left = iter(range(len(self._items)))

        async def watch() -> None:
            # A drain needs nothing here: answers take seconds, and the runtime cancels a job that
            # takes longer.
            if await self._attempt.stopped() is StopReason.PAUSED:
                work.cancel_scope.cancel()

        async def answer_some() -> None:
            for index in left:
                await self._answer_in_place(index)

        try:
            async with anyio.create_task_group() as watching:
                async with anyio.create_task_group() as work:
                    watching.start_soon(watch)
                    for _ in range(min(at_once, len(self._items))):
                        work.start_soon(answer_some)
                watching.cancel_scope.cancel()
        except ExceptionGroup as group:
            raise _first(group) from group
        return len(self._answers) == len(self._items)

    async def answer(self, index: int) -> msgspec.Struct:
        """InvalidInput, AttemptFailed."""
        answer: msgspec.Struct = await self._task.answer(self._items[index], index, self._request)
        return answer

    def answer_to_only(self) -> msgspec.Struct:
        if self._errors:
            raise self._errors[0]
        return self._answers[0]

    def answers_to_list(self) -> list[msgspec.Struct]:
        """The answers in the order of the inputs. Raises if all inputs were refused, or if one
        failed with a retryable error, because another attempt may answer all of them."""
        for error in self._errors.values():
            if error.info().retryable:
                raise error
        if len(self._errors) == len(self._items):
            info = self._errors[0].info()
            raise AttemptFailed(info.code, f"no input could be used; the first: {info.message}")
        return [self._answers[index] for index in range(len(self._items))]

    async def _answer_in_place(self, index: int) -> None:
        try:
            self._answers[index] = await self.answer(index)
        except WorkerUnfit:
            raise
        except (InvalidInput, AttemptFailed) as error:
            self._errors[index] = error
            self._answers[index] = refused(error)
        n_done, n_items = len(self._answers), len(self._items)
        if n_items > 1:
            await self._attempt.record(Progressed(fraction=n_done / n_items, step=n_done, total=n_items))

    async def _emit(self, index: int, chunk: str, finish_reason: FinishReason | None) -> None:
        await self._attempt.record(Emitted(chunk=chunk, index=index, finish_reason=finish_reason))

    def _reserve(self, n_bytes: int) -> None:
        if n_bytes > self._room_bytes:
            raise AttemptFailed(RESULT_TOO_LARGE.code, RESULT_TOO_LARGE.message)
        self._room_bytes -= n_bytes


def _first(group: ExceptionGroup[Exception]) -> Exception:
    error = group.exceptions[0]
    return _first(error) if isinstance(error, ExceptionGroup) else error


def _success(task: ModelTask[Any], answer: msgspec.Struct | list[msgspec.Struct], facts: dict[str, str]) -> Success:
    same: Any
    if isinstance(answer, list):
        same = [one if isinstance(one, Refused) else task.reproducible(one) for one in answer]
    else:
        same = task.reproducible(answer)
    return Success(msgspec.Raw(encode_json(answer)), hashlib.sha256(encode_json(same)).hexdigest(), facts)
