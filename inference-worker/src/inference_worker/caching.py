"""Results of earlier jobs, for jobs that ask for them. Knows neither Redis nor how models run.

A question is all that the answer of a job depends on: the model with its manifest, the input, the
parameters, and the library that runs the model. It is not the name of the model: an alias that
moves, or a model that is trained again, makes another question. The seed belongs to it only where
the task draws random numbers.
"""

import hashlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec
import structlog
from shared_schemas.errors import BackendUnavailable
from shared_schemas.events import Emitted
from shared_schemas.ids import queue_of
from shared_schemas.job import CACHED_FROM
from shared_schemas.models import ModelManifest
from shared_schemas.outcome import Release, Success
from shared_schemas.specs import InferenceParameters, InferenceSpec
from shared_schemas.stream.result_cache import CachedResult, ResultCache
from worker_runtime.handler import Attempt

from inference_worker.metrics import CACHE_LOOKUPS
from inference_worker.tasks import TASKS
from inference_worker.tasks.task import SampledTask

# Of what the digest is made; another number makes all earlier results unknown.
_FORM = 1
_encode = msgspec.json.Encoder(order="deterministic").encode
log = structlog.get_logger()


class Answered(msgspec.Struct, frozen=True):
    """is_whole: whether every input has an answer, and none has an error in its place."""

    outcome: Success | Release
    is_whole: bool


class Cache:
    """facts: what the library of this worker is, which the answers depend on."""

    def __init__(self, results: ResultCache, *, facts: Mapping[str, str]) -> None:
        self._results, self._facts = results, dict(facts)

    def serves(self, attempt: Attempt, spec: InferenceSpec) -> bool:
        """Whether the job asks for it. A replay shows what the model answers now, so it never does."""
        return spec.cache and self._results.is_on and attempt.replay_of is None

    async def answer(
        self,
        attempt: Attempt,
        spec: InferenceSpec,
        manifest: ModelManifest,
        run: Callable[[], Awaitable[Answered]],
    ) -> Success | Release:
        """The result of an earlier job, or else of `run`, which is kept for later ones if it is
        whole. A Redis that does not answer is no reason for a job to fail. Raises what `run` raises."""
        question = digest_of(manifest, spec.input_data, spec.parameters, self._facts)
        how, earlier = await self._earlier(attempt, manifest, question)
        CACHE_LOOKUPS.labels(how).inc()
        if earlier is not None:
            success, chunks = earlier
            for chunk in chunks:
                await attempt.record(chunk)
            return success
        answered = await run()
        if answered.is_whole and isinstance(answered.outcome, Success):
            try:
                await self._results.put(question, attempt.job_id)
            except BackendUnavailable as error:
                log.warning("result_not_cached", job=attempt.job_id, error=str(error))
        return answered.outcome

    async def _earlier(
        self, attempt: Attempt, manifest: ModelManifest, question: str
    ) -> tuple[str, tuple[Success, list[Emitted]] | None]:
        """-> how the search ended, for the metric; the result of an earlier job, and what it emits"""
        try:
            found = await self._results.get(queue_of(attempt.job_id), question)
        except BackendUnavailable:
            return "unavailable", None
        if found is None:
            return "miss", None
        try:
            return "hit", (_success(found), _chunks(manifest, found.result))
        except msgspec.ValidationError:
            # What no worker wrote is in the hash of that job.
            return "miss", None


def digest_of(
    manifest: ModelManifest, input_data: Any, parameters: InferenceParameters, facts: Mapping[str, str]
) -> str:
    """SHA-256 in hex of a question. input_data: as JSON decodes it; the order of keys is no part of it."""
    task = TASKS[manifest.task]
    if not (isinstance(task, SampledTask) and task.depends_on_seed(parameters)):
        parameters = msgspec.structs.replace(parameters, seed=None)
    return hashlib.sha256(_encode([_FORM, manifest, input_data, parameters, facts])).hexdigest()


def _success(found: CachedResult) -> Success:
    return Success(msgspec.Raw(found.result), found.digest, {**found.facts, CACHED_FROM: found.job_id})


def _chunks(manifest: ModelManifest, result: bytes) -> list[Emitted]:
    """For those who follow the job: each text in one piece."""
    task = TASKS[manifest.task]
    if not isinstance(task, SampledTask):
        return []
    decoded = msgspec.json.decode(result)
    whole = map(task.as_chunk, decoded if isinstance(decoded, list) else [decoded])
    return [Emitted(chunk=text, index=index, finish_reason=reason) for index, (text, reason) in enumerate(whole)]
