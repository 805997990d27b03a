"""Loads models and keeps them while there is room.

A model is loaded when the first job asks for it, and only once for all jobs that wait. LoadedModels
verifies, loads and warms up a model in the background, so a job that is cancelled meanwhile does
not stop the loading for other jobs. This module knows neither jobs nor Redis: `resolve` is passed
in.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from collections.abc import Set as AbstractSet
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Literal, Self

import anyio
import structlog
from anyio import to_thread
from anyio.abc import TaskGroup
from shared_schemas.errors import (
    AttemptFailed,
    BackendUnavailable,
    ErrorInfo,
    HeadraceError,
    MalformedId,
    ModelNotFound,
    WorkerUnfit,
)
from shared_schemas.job import HeldModel
from shared_schemas.models import Model, ModelManifest, ModelRef, parse_model_reference
from shared_schemas.store.files import ArtifactStore

from inference_worker.model import LoadedModel, open_model
from inference_worker.settings import Settings

log = structlog.get_logger()


class _Entry:
    """One model, loaded or being loaded. n_users: callers that use it or wait for it. n_bytes: of
    its file; they count from the start of loading. has_ended_loading: set once loading has
    succeeded or failed."""

    def __init__(self, n_bytes: int) -> None:
        self.n_bytes = n_bytes
        self.n_users = 0
        self.has_ended_loading = anyio.Event()
        self.model: LoadedModel | None = None
        self.error: ErrorInfo | None = None
        self.serving = anyio.CancelScope()

    @property
    def state(self) -> Literal["loading", "ready"]:
        return "ready" if self.model is not None else "loading"

    def refuse(self, error: Exception) -> None:
        if isinstance(error, HeadraceError):
            self.error = error.info()
        else:
            self.error = ErrorInfo(code="model_unavailable", message="the model could not be loaded", retryable=True)


class LoadedModels:
    """An async context manager. On exit it stops serving all models."""

    def __init__(self, resolve: Callable[[str], Awaitable[Model]], store: ArtifactStore, settings: Settings) -> None:
        self._resolve = resolve
        self._store = store
        self._settings = settings
        # Least recently used first.
        self._entries: dict[ModelRef, _Entry] = {}
        self._loading_threads = anyio.CapacityLimiter(2)
        self._tasks: TaskGroup | None = None
        # By version: the switch that wanted it, and why it could not be loaded.
        self._failed: dict[ModelRef, tuple[str, str]] = {}
        self._preparing: set[ModelRef] = set()
        self._wanted: frozenset[ModelRef] = frozenset()
        self._pinned: frozenset[ModelRef] = frozenset()
        # A version never changes, so what could not be loaded for good is not tried again and again.
        self._unpinnable: set[ModelRef] = set()
        self._held: tuple[HeldModel, ...] = ()
        self._on_change: Callable[[], None] = lambda: None

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
    def refs(self) -> tuple[ModelRef, ...]:
        """The models that are loaded or being loaded, the least recently used first."""
        return tuple(self._entries)

    @property
    def held(self) -> tuple[HeldModel, ...]:
        """The same, for the registration of the worker. To be read from any thread."""
        return self._held

    def call_on_change(self, function: Callable[[], None]) -> None:
        """Have a function called whenever `held` has changed."""
        self._on_change = function

    def prepare(self, wanted: Mapping[ModelRef, str]) -> None:
        """Load versions of models of which another one is loaded, so that an alias can move to them. Returns at once,
        and `held` shows what became of it. wanted: by version, the switch that waits for it."""
        self._wanted = frozenset(wanted)
        known = {ref.name for ref in self._entries}
        gone = [ref for ref, (switch, _) in self._failed.items() if wanted.get(ref) != switch]
        for ref in gone:
            del self._failed[ref]
        if gone:
            self._changed()
        for ref, switch in wanted.items():
            is_begun = ref in self._entries or ref in self._failed or ref in self._preparing
            if self._tasks is not None and ref.name in known and not is_begun:
                self._preparing.add(ref)
                self._tasks.start_soon(self._prepare, ref, switch)

    def pin(self, pinned: AbstractSet[ModelRef]) -> None:
        """Load these versions if they are not loaded, and unload none of them until the next call.
        Returns at once."""
        self._pinned = frozenset(pinned)
        for ref in self._pinned - self._unpinnable:
            if self._tasks is not None and ref not in self._entries and ref not in self._preparing:
                self._preparing.add(ref)
                self._tasks.start_soon(self._prepare, ref, None)
        self._changed()

    async def _prepare(self, ref: ModelRef, switch: str | None) -> None:
        try:
            async with self.use(str(ref)):
                log.info("model_prepared", model=str(ref))
        except BackendUnavailable:
            return  # it is tried again while it is wanted
        except HeadraceError as error:
            log.warning("model_not_prepared", model=str(ref), code=error.info().code)
            if switch is not None:
                self._failed[ref] = switch, error.info().code
                self._changed()
            elif not error.info().retryable:
                self._unpinnable.add(ref)
        finally:
            self._preparing.discard(ref)

    def _changed(self) -> None:
        loaded = [
            HeldModel(model=str(ref), state=entry.state, n_bytes=entry.n_bytes, is_pinned=ref in self._pinned)
            for ref, entry in self._entries.items()
        ]
        failed = [
            HeldModel(model=str(ref), state="failed", code=code, switch=switch)
            for ref, (switch, code) in self._failed.items()
        ]
        held = (*failed, *loaded)
        if held != self._held:
            self._held = held
            self._on_change()

    def _kept(self) -> set[ModelRef]:
        """What is not unloaded: pinned versions; and while an alias is about to move, the version it moves to and the
        last version of that model that was used, which still answers."""
        kept = set(self._pinned) | self._wanted
        for wanted in self._wanted:
            others = [ref for ref in self._entries if ref.name == wanted.name and ref not in kept]
            kept |= set(others[-1:])
        return kept

    @asynccontextmanager
    async def use(self, model_id: str) -> AsyncIterator[LoadedModel]:
        """The model, which stays loaded while the context is open. ModelNotFound, MalformedId;
        AttemptFailed: model_gone (its version was deleted), model_unavailable (its file is not there,
        retryable), model_corrupt, model_unsupported, model_too_large, worker_stopping (retryable);
        WorkerUnfit."""
        entry = await self._entry_of(model_id)
        entry.n_users += 1
        try:
            await entry.has_ended_loading.wait()
            if entry.error is not None and entry.error.code == WorkerUnfit.code:
                raise WorkerUnfit
            if entry.error is not None:
                raise AttemptFailed(entry.error.code, entry.error.message, retryable=entry.error.retryable)
            if entry.model is None:
                raise AttemptFailed("worker_stopping", "the worker is stopping", retryable=True)
            yield entry.model
        finally:
            entry.n_users -= 1
            self._evict_idle(0)

    async def manifest_of(self, model_id: str) -> ModelManifest:
        """Without loading the model. ModelNotFound, MalformedId, BackendUnavailable, AttemptFailed
        model_gone."""
        ref = _exact_version(model_id)
        entry = None if ref is None else self._entries.get(ref)
        if entry is not None and entry.model is not None:
            return entry.model.manifest
        return (await self._look_up(model_id)).manifest

    async def _entry_of(self, model_id: str) -> _Entry:
        ref = _exact_version(model_id)
        if ref is None or ref not in self._entries:
            # A version never changes, so a loaded one need not be looked up.
            model = await self._look_up(model_id)
            ref = model.ref
            if ref not in self._entries:
                self._begin_loading(model)
        entry = self._entries.pop(ref)
        self._entries[ref] = entry
        return entry

    async def _look_up(self, model_id: str) -> Model:
        try:
            return await self._resolve(model_id)
        except ModelNotFound as error:
            if _exact_version(model_id) is None:
                raise
            # The gateway pins each job to a version that exists, and no number is given again.
            raise AttemptFailed(
                "model_gone", "the version of the model was deleted after the job was submitted"
            ) from error

    def _begin_loading(self, model: Model) -> None:
        if self._tasks is None:
            raise AttemptFailed("worker_stopping", "the worker is stopping", retryable=True)
        n_bytes = model.manifest.onnx.n_bytes
        if n_bytes > self._settings.models_bytes:
            raise AttemptFailed("model_too_large", "the model is larger than this worker's memory for models")
        kept = self._kept() - {model.ref}
        kept_bytes = sum(entry.n_bytes for ref, entry in self._entries.items() if ref in kept)
        if n_bytes + kept_bytes > self._settings.models_bytes:
            raise AttemptFailed(
                "model_too_large", "the worker has no room for the model beside those that it must keep"
            )
        self._evict_idle(n_bytes)
        entry = self._entries[model.ref] = _Entry(n_bytes)
        self._changed()
        self._tasks.start_soon(self._load_and_serve, model, entry, name=f"model {model.ref}")

    def _evict_idle(self, n_bytes: int) -> None:
        """Unload idle models until n_bytes more fit. If the rest is in use, the limit is exceeded until a model becomes
        idle."""
        excess = sum(entry.n_bytes for entry in self._entries.values()) + n_bytes - self._settings.models_bytes
        if excess <= 0:
            return
        kept = self._kept()
        for ref, entry in list(self._entries.items()):
            if excess <= 0:
                return
            if ref not in kept and entry.n_users == 0 and entry.has_ended_loading.is_set():
                del self._entries[ref]
                entry.serving.cancel()
                excess -= entry.n_bytes
                log.info("model_unloaded", model=str(ref))
                self._changed()

    async def _load_and_serve(self, model: Model, entry: _Entry) -> None:
        started_s = anyio.current_time()
        try:
            loaded = await to_thread.run_sync(
                open_model, model, self._store, self._settings, limiter=self._loading_threads
            )
            async with anyio.create_task_group() as serving:
                entry.serving = serving.cancel_scope
                await serving.start(loaded.engine.run)
                if (error := await _first_run(loaded)) is None:
                    entry.model = loaded
                    entry.has_ended_loading.set()
                    self._changed()
                    seconds = round(anyio.current_time() - started_s, 3)
                    if loaded.is_off_its_gpu:
                        log.error("model_not_on_gpu", model=str(model.ref), device=self._settings.device)
                    log.info(
                        "model_loaded",
                        model=str(model.ref),
                        seconds=seconds,
                        provider=loaded.session.provider,
                        batch_sizes=str(loaded.engine.invariance.sizes),
                    )
                else:
                    await self._refuse(entry, error)
                    serving.cancel_scope.cancel()
        except Exception as error:  # a fault of one model must not end the worker
            await self._refuse(entry, error)
            log.warning("model_refused", model=str(model.ref), error=str(error), cause=str(error.__cause__ or ""))
        finally:
            if self._entries.get(model.ref) is entry:
                del self._entries[model.ref]
                self._changed()
            entry.has_ended_loading.set()

    async def _refuse(self, entry: _Entry, error: Exception) -> None:
        """If another loaded model no longer runs either, the fault is the worker's, and the error
        becomes WorkerUnfit."""
        loaded = [entry.model for entry in self._entries.values() if entry.model is not None]
        others = [model for model in loaded if model.task.takes_ones]
        if others and await _first_run(others[0]) is not None:
            error = WorkerUnfit()
        entry.refuse(error)


async def _first_run(loaded: LoadedModel) -> AttemptFailed | None:
    """Run the model once. -> its error, if it fails."""
    try:
        await loaded.warm_up()
    except AttemptFailed as error:
        return error
    return None


def _exact_version(model_id: str) -> ModelRef | None:
    """The version that `name@3` names; None for a reference that must be resolved."""
    try:
        name, version = parse_model_reference(model_id)
    except MalformedId:
        return None
    return ModelRef(name, version) if isinstance(version, int) else None
