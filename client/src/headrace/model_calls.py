"""What both clients do with models: list, publish, download, delete. Knows no connection."""

import time
from abc import abstractmethod
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import anyio
from anyio import to_thread
from shared_schemas.artifacts import ArtifactRef
from shared_schemas.kinds import JobKind
from shared_schemas.models import ModelDescription
from shared_schemas.replies import Submitted
from shared_schemas.specs import JobSpec

from headrace import endpoints
from headrace.answers import AsyncListing, Listing, Model, Rows
from headrace.endpoints import Page, Request, T
from headrace.errors import ApiError
from headrace.transfers import Contents, Downloading, OnProgress, Publication, Source, Target, Uploading


class ModelCalls:
    """Of the blocking client."""

    @abstractmethod
    def send(self, request: Request[T]) -> T: ...

    @abstractmethod
    def submit(
        self,
        kind: JobKind | str,
        spec: JobSpec | Mapping[str, Any] | None = None,
        /,
        *,
        idempotency_key: str | UUID | None = None,
        **fields: Any,
    ) -> Submitted: ...

    @abstractmethod
    def result(self, job_id: str, *, timeout_s: float | None = None) -> Any: ...

    @abstractmethod
    def _rows(self, ask: Callable[[str | None], Request[Page[T]]]) -> Listing[T]: ...

    def models(self) -> Listing[Model]:
        """The newest version of each published model."""
        return self._rows(lambda cursor: endpoints.list_models(cursor=cursor))

    def model(self, name: str) -> Rows[Model]:
        """Every version of a model, newest first."""
        return Rows(self.send(endpoints.model(name)).versions)

    def model_version(self, name: str, version: int | str = "latest") -> Model:
        """One version of a model, by its number or an alias."""
        return self.send(endpoints.model_version(name, version))

    def publish(
        self,
        model: object,
        *,
        name: str,
        example: object = None,
        manifest: ModelDescription | Mapping[str, Any] | None = None,
        idempotency_key: str | UUID | None = None,
        timeout_s: float | None = None,
        on_progress: OnProgress | None = None,
        **fields: Any,
    ) -> Model:
        """Publish an ONNX file, and wait until it is checked. model: a path, bytes or an ONNX ModelProto; or a
        scikit-learn estimator or a PyTorch module, which is exported first and must agree with the file on the
        example. example: rows that the estimator or the module takes. manifest, fields: what the file does not
        show, such as labels=["no", "yes"]; files in it are given as paths or bytes. on_progress: called with the
        bytes uploaded and all. JobFailed if the file is refused, ExportFailed if none could be made."""
        made = Publication(model, manifest, fields, example=example)
        refs = {field: self.upload(file, on_progress=on_progress) for field, file in made.files.items()}
        job = self.submit(JobKind.PUBLISHING, made.spec(name, refs), idempotency_key=idempotency_key)
        published, _, version = self.result(job.job_id, timeout_s=timeout_s)["model"].rpartition("@")
        return self.model_version(published, version)

    def upload(self, file: Contents, *, on_progress: OnProgress | None = None) -> ArtifactRef:
        """Upload a file. Goes on where an earlier upload broke, and sends nothing if the file is there."""
        uploading = Uploading(Source(file), on_progress)
        while (request := uploading.next()) is not None:
            try:
                uploading.took(self.send(request))
            except ApiError as error:
                time.sleep(uploading.refused(error))
        return uploading.ref

    def download(
        self,
        name: str,
        target: Target | None = None,
        *,
        version: int | str = "latest",
        on_progress: OnProgress | None = None,
    ) -> Path:
        """Download the ONNX file of a version. Goes on where an earlier download broke. target: a file or
        a folder; `name-version.onnx` by default. -> its path"""
        downloading = Downloading(self.model_version(name, version), target, on_progress)
        while (request := downloading.next()) is not None:
            downloading.took(self.send(request))
        return downloading.finish()

    def set_alias(self, name: str, alias: str, version: int, *, warm: bool = True) -> Model:
        """Point an alias at a version. warm: workers that hold another version of the model load
        this one before the alias moves. Conflict if one of them cannot, or if a later call moves
        the alias."""
        return self.send(endpoints.set_alias(name, alias, version, warm=warm))

    def delete_alias(self, name: str, alias: str) -> None:
        """Delete an alias. The version that it names stays. NotFound if there is no such alias."""
        self.send(endpoints.delete_alias(name, alias))

    def delete_model(self, name: str, version: int) -> None:
        """Delete a version. The alias `latest` moves to the newest one left. Conflict if another
        alias names the version, or if an unfinished job uses it."""
        self.send(endpoints.delete_model(name, version))


class AsyncModelCalls:
    """Of the async client. ModelCalls documents the methods."""

    @abstractmethod
    async def send(self, request: Request[T]) -> T: ...

    @abstractmethod
    async def submit(
        self,
        kind: JobKind | str,
        spec: JobSpec | Mapping[str, Any] | None = None,
        /,
        *,
        idempotency_key: str | UUID | None = None,
        **fields: Any,
    ) -> Submitted: ...

    @abstractmethod
    async def result(self, job_id: str, *, timeout_s: float | None = None) -> Any: ...

    @abstractmethod
    def _rows(self, ask: Callable[[str | None], Request[Page[T]]]) -> AsyncListing[T]: ...

    def models(self) -> AsyncListing[Model]:
        return self._rows(lambda cursor: endpoints.list_models(cursor=cursor))

    async def model(self, name: str) -> Rows[Model]:
        return Rows((await self.send(endpoints.model(name))).versions)

    async def model_version(self, name: str, version: int | str = "latest") -> Model:
        return await self.send(endpoints.model_version(name, version))

    async def publish(
        self,
        model: object,
        *,
        name: str,
        example: object = None,
        manifest: ModelDescription | Mapping[str, Any] | None = None,
        idempotency_key: str | UUID | None = None,
        timeout_s: float | None = None,
        on_progress: OnProgress | None = None,
        **fields: Any,
    ) -> Model:
        made = await to_thread.run_sync(partial(Publication, model, manifest, fields, example=example))
        refs = {field: await self.upload(file, on_progress=on_progress) for field, file in made.files.items()}
        job = await self.submit(JobKind.PUBLISHING, made.spec(name, refs), idempotency_key=idempotency_key)
        result = await self.result(job.job_id, timeout_s=timeout_s)
        published, _, version = result["model"].rpartition("@")
        return await self.model_version(published, version)

    async def upload(self, file: Contents, *, on_progress: OnProgress | None = None) -> ArtifactRef:
        uploading = Uploading(await to_thread.run_sync(Source, file), on_progress)
        while (request := await to_thread.run_sync(uploading.next)) is not None:
            try:
                uploading.took(await self.send(request))
            except ApiError as error:
                await anyio.sleep(uploading.refused(error))
        return uploading.ref

    async def download(
        self,
        name: str,
        target: Target | None = None,
        *,
        version: int | str = "latest",
        on_progress: OnProgress | None = None,
    ) -> Path:
        downloading = Downloading(await self.model_version(name, version), target, on_progress)
        while (request := downloading.next()) is not None:
            await to_thread.run_sync(downloading.took, await self.send(request))
        return await to_thread.run_sync(downloading.finish)

    async def set_alias(self, name: str, alias: str, version: int, *, warm: bool = True) -> Model:
        """Point an alias at a version. warm: workers that hold another version of the model load
        this one before the alias moves. Conflict if one of them cannot, or if a later call moves
        the alias."""
        return await self.send(endpoints.set_alias(name, alias, version, warm=warm))

    async def delete_alias(self, name: str, alias: str) -> None:
        await self.send(endpoints.delete_alias(name, alias))

    async def delete_model(self, name: str, version: int) -> None:
        """Delete a version. The alias `latest` moves to the newest one left. Conflict if another
        alias names the version, or if an unfinished job uses it."""
        await self.send(endpoints.delete_model(name, version))
