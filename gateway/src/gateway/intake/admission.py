"""From a spec to the spec that is stored: the checks that need Redis, and what a replay must
repeat.

Knows neither job ids nor how a job is stored.
"""

import os
import re
from collections.abc import Mapping
from contextlib import suppress

from shared_schemas.errors import JobExpired, JobNotFound, JobUnreadable, MalformedId, ModelNotFound, SpecRejected
from shared_schemas.ids import QueueName, is_job_id, kind_of_queue, parse_job_id
from shared_schemas.job import Job
from shared_schemas.models import ModelRef
from shared_schemas.specs import BUILT_IN_RECIPES, JobSpec, kind_of_spec
from shared_schemas.stream.jobs import Jobs
from shared_schemas.stream.queues import Queues

from gateway.intake.coalescing import Coalescer
from gateway.intake.files import Files
from gateway.intake.recipes import Recipes
from gateway.intake.signatures import Signatures

_MOST_SEED = 2**31 - 1
# How many queues an error message names.
_MOST_NAMED = 20
_NO_PARENTS: Mapping[str, Job] = {}
# Control characters, backslashes, a step upwards, a home folder, a URL, a folder.
_FORBIDDEN_IN_PATH = re.compile(r"[\x00-\x1f\x7f-\x9f\\]|(^|/)\.\.(/|\Z)|^~|^[A-Za-z][A-Za-z0-9+.-]*:/|(^|/)\.?\Z")


class PathNotAllowed(SpecRejected):
    code = "path_not_allowed"


class FileUnknown(SpecRejected):
    code = "file_not_found"


class QueueUnknown(SpecRejected):
    code = "queue_unknown"


class Admission:
    """pins: the version of each model that is asked for by name."""

    def __init__(
        self,
        *,
        queues: Queues,
        jobs: Jobs,
        pins: Coalescer[str, ModelRef],
        signatures: Signatures,
        recipes: Recipes,
        files: Files,
    ) -> None:
        self._queues, self._jobs, self._pins = queues, jobs, pins
        self._signatures, self._recipes, self._files = signatures, recipes, files

    async def admit(
        self, spec: JobSpec, queue: QueueName, *, is_again: bool = False, models: dict[str, str] | None = None
    ) -> JobSpec:
        """-> the spec with its queue, its seed and the version of its model. queue: from `queue_for`.
        is_again: a retry or a replay. models: the pinned version of each model name that earlier
        specs of the same list have; new ones are added.

        The input, the files and the recipe of a retry or a replay are not checked: its job was
        accepted before, and it must be able to end as that job did. SpecRejected, InvalidInput,
        ModelNotFound, BackendUnavailable, StoreUnwritable.
        """
        # Most jobs need only some of these checks, and a call costs time.
        recipe, source, model = spec.recipe, spec.source, spec.model
        if queue not in self._queues.always:
            await self._check_queue(queue, is_again=is_again)
        # The spec itself has checked the hyperparameters of a built-in recipe.
        if recipe is not None and recipe not in BUILT_IN_RECIPES and not is_again:
            spec = await self._recipes.checked(spec, recipe, queue)
        _check_paths(spec)
        for pointer, ref in spec.files.items():
            # The file must outlive the time until the job refers to it.
            if not await self._files.renew(ref) and not is_again:
                raise FileUnknown("the store has no such file: send it with PUT /files/{sha256}", pointer=pointer)
        parents = await self._check_parents(spec, source) if spec.depends_on or source is not None else _NO_PARENTS
        if model is not None:
            version = await self._pin(model, {} if models is None else models, parents)
            if not is_again and spec.input_field is not None and version not in parents:
                parameters = None if spec.parameters_field is None else getattr(spec, spec.parameters_field)
                await self._signatures.check(version, getattr(spec, spec.input_field), parameters)
            model = version
        new_seed = int.from_bytes(os.urandom(4)) & _MOST_SEED
        return spec.pinned(queue=queue, model=model, new_seed=new_seed)

    async def _check_queue(self, queue: QueueName, *, is_again: bool) -> None:
        """A misspelled name would make a queue that nobody serves. is_again: the queue took a job
        of this kind before, so its name is right."""
        if await self._queues.takes_jobs(queue):
            return
        if is_again:
            await self._queues.declare(queue)
            return
        known = self._queues.taking(kind_of_queue(queue))
        named = ", ".join(known[:_MOST_NAMED]) + (
            f" and {len(known) - _MOST_NAMED} more" if len(known) > _MOST_NAMED else ""
        )
        raise QueueUnknown(
            f"no worker serves a queue of this name and no setting declares it; the known queues are {named}",
            pointer="/queue",
        )

    async def _check_parents(self, spec: JobSpec, source: str | None) -> dict[str, Job]:
        """source: of the spec. -> the jobs that it depends on, by the ids in the spec."""
        parents = {
            parent: await self._find(parent, pointer=f"/depends_on/{i}") for i, parent in enumerate(spec.depends_on)
        }
        if source is not None:
            pointer = f"/{spec.source_field}"
            _check_source(spec, await self._find(source, pointer=pointer), pointer=pointer)
        return parents

    async def _find(self, text: str, *, pointer: str) -> Job:
        try:
            return await self._jobs.find(parse_job_id(text))
        except (MalformedId, JobNotFound, JobExpired):
            raise SpecRejected("there is no such job", pointer=pointer) from None

    async def _pin(self, model: str, models: dict[str, str], parents: Mapping[str, Job]) -> str:
        """-> the version of the model; the id of a parent stays as it is, because its model will
        exist by the time this job may run."""
        if model in parents:
            _check_publishes(parents[model])
            return model
        if model not in models:
            models[model] = await self._pinned_model(model)
        return models[model]

    async def _pinned_model(self, model_id: str) -> str:
        try:
            return str(await self._pins.ask(model_id))
        except MalformedId:
            raise ModelNotFound("no such model is published; GET /models lists those that are") from None
        except ModelNotFound as error:
            if is_job_id(model_id):
                with suppress(JobNotFound, JobExpired, JobUnreadable):
                    _check_publishes(await self._jobs.find(parse_job_id(model_id)))
            raise ModelNotFound(f"{error}; GET /models and GET /models/{{name}} list what there is") from None


def _check_paths(spec: JobSpec) -> None:
    """Refuse a path that can be under no data root. The worker, which has the files, checks the
    rest."""
    for field in spec.path_fields:
        path = getattr(spec, field)
        if path is not None and _FORBIDDEN_IN_PATH.search(path):
            # The same message for every path, so that it tells nothing about the files there.
            raise PathNotAllowed("a path names a file under the data root", pointer=f"/{field}")


def _check_source(spec: JobSpec, source: Job, *, pointer: str) -> None:
    """Refuse what can be refused before a worker reads the checkpoint."""
    kind = kind_of_spec(spec)
    if source.kind is not kind:
        raise SpecRejected(f"only a {kind} job can be resumed from", pointer=pointer)
    if source.state.is_terminal and source.checkpoint is None:
        raise SpecRejected("that job ended without a checkpoint to go on from", pointer=pointer)
    spec.check_source(source.spec)


def _check_publishes(job: Job) -> None:
    if job.replay_of is not None:
        raise ModelNotFound("that job is a replay, which publishes no model; name the job that it replays, or a model")
