"""An inference job from its spec to its result. It knows tasks and answers, not how models are loaded or batched."""

import hashlib
import os
from typing import Any

import anyio
import msgspec
from shared_schemas.codec import encode_json
from shared_schemas.errors import AttemptFailed, HeadraceError, InvalidInput, SpecRejected, WorkerUnfit
from shared_schemas.events import Emitted, Progressed
from shared_schemas.ids import JobKind
from shared_schemas.inputs import inputs_of, text_of
from shared_schemas.outcome import Release, Success
from shared_schemas.process import processor
from shared_schemas.specs import InferenceSpec
from worker_runtime.handler import Attempt, StopReason

from inference_worker.answers import Answer, classified, predicted, refused, reproducible
from inference_worker.engines.session import Device, runtime_facts
from inference_worker.inputs import Warned
from inference_worker.loading import LoadedModels
from inference_worker.model import LoadedModel
from inference_worker.sampling import generator_for, seed_of
from inference_worker.tasks.text_generation import FinishReason, generate
from inference_worker.tensors import Array, Row, text_row


class InferenceHandler:
    kind = JobKind.INFERENCE

    def __init__(
        self, models: LoadedModels, *, items_in_flight: int = 64, device: Device = "auto", threads: int = 0
    ) -> None:
        """items_in_flight: inputs of one job that are worked on at once. threads: of each model's session, 0 for one a
        core."""
        self._models = models
        self._items_in_flight = items_in_flight
        self._device: Device = device
        self._facts = runtime_facts(device) | {"processor": processor(), "threads": str(threads or os.cpu_count() or 1)}

    def describe(self) -> dict[str, str]:
        return runtime_facts(self._device)

    async def run(self, attempt: Attempt) -> Success | Release:
        """InvalidInput or the failure of the model if no input at all has an answer."""
        spec = attempt.spec
        if not isinstance(spec, InferenceSpec):
            raise SpecRejected("not an inference job")
        async with self._models.use(spec.model_id) as model:
            inputs = inputs_of(model.manifest.task, spec.input_data)
            run = _Run(attempt, spec, model, inputs.items)
            facts = self._facts | {"device": model.session.device}
            if not inputs.is_list and model.manifest.task != "text-generation":
                return _success(await run.answer(0), facts)
            if not await run.answer_all(at_once=self._items_in_flight):
                return Release()
        if not inputs.is_list:
            return _success(run.answer_to_only(), facts)
        return _success(run.answers_to_list(), facts)


class _Run:
    """The inputs of one job and what has been answered."""

    def __init__(self, attempt: Attempt, spec: InferenceSpec, model: LoadedModel, items: tuple[Any, ...]) -> None:
        self._attempt = attempt
        self._parameters = spec.parameters
        self._model = model
        self._items = items
        self._seed = seed_of(attempt.job_id) if spec.parameters.seed is None else spec.parameters.seed
        self._answers: dict[int, Answer] = {}
        self._errors: dict[int, HeadraceError] = {}

    async def answer_all(self, *, at_once: int) -> bool:
        """False if the job was paused first."""
        left = iter(range(len(self._items)))

        async def watch() -> None:
            # A drain asks for nothing here: answers take seconds, and the runtime ends what takes longer.
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

    async def answer(self, index: int) -> Answer:
        """InvalidInput, AttemptFailed."""
        item, manifest = self._items[index], self._model.manifest
        match manifest.task:
            case "text-generation":
                return await self._generate(index, text_of(item))
            case "text-classification":
                codec, longest = self._model.require_codec()
                ids = await codec.encode(text_of(item))
                outputs = await self._model.engine.infer(text_row(ids[:longest], longest=longest, pad=codec.pad_id))
                return classified(
                    outputs["logits"],
                    manifest.labels,
                    top_k=self._parameters.top_k,
                    truncated_tokens=max(0, len(ids) - longest),
                )
            case "tabular-classification":
                logits, warnings = await self._of_features(item, "logits")
                return classified(logits, manifest.labels, top_k=self._parameters.top_k, warnings=warnings)
            case "tabular-regression":
                prediction, warnings = await self._of_features(item, "prediction")
                return predicted(prediction, warnings=warnings)

    def answer_to_only(self) -> Answer:
        if self._errors:
            raise self._errors[0]
        return self._answers[0]

    def answers_to_list(self) -> list[Answer]:
        """In the order of the inputs. Raises if all of them are refused, or if one failed of something that passes:
        another attempt may answer them all."""
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

    async def _of_features(self, item: Any, output: str) -> tuple[Array, tuple[Warned, ...]]:
        features = self._model.require_features()
        row = features.row(item)
        outputs = await self._model.engine.infer(Row({"features": row}))
        return outputs[output], features.warnings(row)

    async def _generate(self, index: int, prompt: str) -> Answer:
        async def emit(chunk: str, finish_reason: FinishReason | None) -> None:
            await self._attempt.record(Emitted(chunk=chunk, index=index, finish_reason=finish_reason))

        codec, context_length = self._model.require_codec()
        return await generate(
            prompt,
            engine=self._model.engine,
            codec=codec,
            context_length=context_length,
            parameters=self._parameters,
            rng=generator_for(self._seed, index),
            emit=emit,
        )


def _first(group: ExceptionGroup[Exception]) -> Exception:
    error = group.exceptions[0]
    return _first(error) if isinstance(error, ExceptionGroup) else error


def _success(answer: Answer | list[Answer], facts: dict[str, str]) -> Success:
    same = [reproducible(one) for one in answer] if isinstance(answer, list) else reproducible(answer)
    return Success(msgspec.Raw(encode_json(answer)), hashlib.sha256(encode_json(same)).hexdigest(), facts)
