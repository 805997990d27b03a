"""Which models this process holds: loaded on demand, once however many ask, and kept while there is room.

A model is verified, loaded, checked against its task and warmed by a task of LoadedModels itself, so a job that
is cancelled meanwhile harms nobody else who waits. It knows no job and no Redis: `resolve` is passed in.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Self

import anyio
import structlog
from anyio import to_thread
from anyio.abc import TaskGroup
from shared_schemas.errors import AttemptFailed, ErrorInfo, HeadraceError, MalformedId, WorkerUnfit
from shared_schemas.models import Model, ModelRef, parse_model_reference
from shared_schemas.store.files import ArtifactStore

from inference_worker.model import LoadedModel, open_model
from inference_worker.settings import Settings

log = structlog.get_logger()


class _Place:
    """One model's place. n_users: callers who hold or await it. n_bytes: counted from the start of loading."""

    def __init__(self, n_bytes: int) -> None:
        self.n_bytes = n_bytes
        self.n_users = 0
        self.is_settled = anyio.Event()
        self.model: LoadedModel | None = None
        self.error: ErrorInfo | None = None
        self.serving = anyio.CancelScope()

    def refuse(self, error: Exception) -> None:
        if isinstance(error, HeadraceError):
            self.error = error.info()
        else:
            self.error = ErrorInfo(code="model_unavailable", message="the model could not be loaded", retryable=True)


class LoadedModels:
    """An async context manager: the models it loaded are served until it is left."""

    def __init__(self, resolve: Callable[[str], Awaitable[Model]], store: ArtifactStore, settings: Settings) -> None:
        self._resolve = resolve
        self._store = store
        self._settings = settings
        # Least recently used first.
        self._places: dict[ModelRef, _Place] = {}
        self._loading_threads = anyio.CapacityLimiter(2)
        self._tasks: TaskGroup | None = None

    async def __aenter__(self) -> Self:
        self._tasks = await anyio.create_task_group().__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        tasks, self._tasks = self._tasks, None
        if tasks is None:
            return None
        tasks.cancel_scope.cancel()
        return await tasks.__aexit__(kind, error, traceback)

    @property
    def held(self) -> tuple[ModelRef, ...]:
        """Loaded or being loaded, the least recently used first."""
        return tuple(self._places)

    @asynccontextmanager
    async def use(self, model_id: str) -> AsyncIterator[LoadedModel]:
        """The model, which stays loaded meanwhile. ModelNotFound, MalformedId; AttemptFailed: model_unavailable
        (its file is away, retryable), model_corrupt, model_unsupported, model_too_large."""
        place = await self._place_of(model_id)
        place.n_users += 1
        try:
            await place.is_settled.wait()
            if place.error is not None and place.error.code == WorkerUnfit.code:
                raise WorkerUnfit
            if place.error is not None:
                raise AttemptFailed(place.error.code, place.error.message, retryable=place.error.retryable)
            if place.model is None:
                raise AttemptFailed("worker_stopping", "the worker is stopping", retryable=True)
            yield place.model
        finally:
            place.n_users -= 1
            self._evict_idle(0)

    async def _place_of(self, model_id: str) -> _Place:
        ref = _pinned(model_id)
        if ref is None or ref not in self._places:
            # A version never changes, so one that is held need not be asked for again.
            model = await self._resolve(model_id)
            ref = model.ref
            if ref not in self._places:
                self._begin_loading(model)
        place = self._places.pop(ref)
        self._places[ref] = place
        return place

    def _begin_loading(self, model: Model) -> None:
        if self._tasks is None:
            raise AttemptFailed("worker_stopping", "the worker is stopping", retryable=True)
        n_bytes = model.manifest.onnx.n_bytes
        if n_bytes > self._settings.models_bytes:
            raise AttemptFailed("model_too_large", "the model is larger than this worker's memory for models")
        self._evict_idle(n_bytes)
        place = self._places[model.ref] = _Place(n_bytes)
        self._tasks.start_soon(self._load_and_serve, model, place, name=f"model {model.ref}")

    def _evict_idle(self, n_bytes: int) -> None:
        """Unload until n_bytes more fit, or all that is left is in use: then the limit is exceeded until some of
        it is idle."""
        excess = sum(place.n_bytes for place in self._places.values()) + n_bytes - self._settings.models_bytes
        for ref, place in list(self._places.items()):
            if excess <= 0:
                return
            if place.n_users == 0 and place.is_settled.is_set():
                del self._places[ref]
                place.serving.cancel()
                excess -= place.n_bytes
                log.info("model_unloaded", model=str(ref))

    async def _load_and_serve(self, model: Model, place: _Place) -> None:
        started_s = anyio.current_time()
        try:
            loaded = await to_thread.run_sync(
                open_model, model, self._store, self._settings, limiter=self._loading_threads
            )
            async with anyio.create_task_group() as serving:
                place.serving = serving.cancel_scope
                await serving.start(loaded.engine.run)
                if (error := await _first_run(loaded)) is None:
                    place.model = loaded
                    place.is_settled.set()
                    seconds = round(anyio.current_time() - started_s, 3)
                    log.info("model_loaded", model=str(model.ref), seconds=seconds, provider=loaded.session.provider)
                else:
                    await self._refuse(place, error)
                    serving.cancel_scope.cancel()
        except Exception as error:  # whatever is wrong with one model must not end the worker
            await self._refuse(place, error)
            log.warning("model_refused", model=str(model.ref), error=str(error), cause=str(error.__cause__ or ""))
        finally:
            if self._places.get(model.ref) is place:
                del self._places[model.ref]
            place.is_settled.set()

    async def _refuse(self, place: _Place, error: Exception) -> None:
        """A model that cannot be loaded is to blame for it only if those that were loaded before still run."""
        others = [other.model for other in self._places.values() if other.model is not None]
        if others and await _first_run(others[0]) is not None:
            error = WorkerUnfit()
        place.refuse(error)


async def _first_run(loaded: LoadedModel) -> AttemptFailed | None:
    try:
        await loaded.warm_up()
    except AttemptFailed as error:
        return error
    return None


def _pinned(model_id: str) -> ModelRef | None:
    """The version that `name@3` spells; None for what has to be resolved."""
    try:
        name, version = parse_model_reference(model_id)
    except MalformedId:
        return None
    return ModelRef(name, version) if isinstance(version, int) else None
