"""Files to and from the gateway, in parts: which request comes next, and when a transfer goes on after
an error. Opens no connection.

A part is an ordinary request, so it is sent again after a lost connection like any other. A file that
the store has already is not sent at all.
"""

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, TypeAlias, get_args, runtime_checkable

import msgspec
from shared_schemas.artifacts import ArtifactRef
from shared_schemas.models import Model, ModelDescription
from shared_schemas.replies import StoredFile

from headrace import endpoints
from headrace.endpoints import Request
from headrace.errors import ApiError, InvalidJob, ProtocolError
from headrace.exporting import exported

PART_BYTES = 8 << 20
_READ_BYTES = 1 << 20
# How often to ask again while another request, such as one whose connection broke, still writes the file.
_PATIENCE, _PAUSE_S = 60, 0.5
# (bytes done, bytes of the file)
OnProgress: TypeAlias = Callable[[int, int], object]


@runtime_checkable
class Serializable(Protocol):
    """Such as onnx.ModelProto."""

    def SerializeToString(self) -> bytes: ...  # noqa: N802 - the name that protobuf gives it


Target: TypeAlias = str | os.PathLike[str]
Contents: TypeAlias = str | os.PathLike[str] | bytes | bytearray | memoryview | Serializable


class Source:
    """What to upload: a file by its path, or its contents. Reads the file twice, and keeps only parts of it."""

    def __init__(self, given: Contents) -> None:
        """InvalidJob if it cannot be read."""
        self._path: Path | None = None
        self._data = b""
        match given:
            case str() | os.PathLike():
                self._path = Path(given)
            case bytes() | bytearray() | memoryview():
                self._data = bytes(given)
            case Serializable():
                self._data = given.SerializeToString()
            case _:
                raise InvalidJob(f"give a path, bytes, an ONNX ModelProto or an object, not {type(given).__name__}")
        digest, n_bytes = hashlib.sha256(), 0
        while piece := self.read(n_bytes, _READ_BYTES):
            digest.update(piece)
            n_bytes += len(piece)
        self.ref = ArtifactRef(sha256=digest.hexdigest(), n_bytes=n_bytes)

    def read(self, start: int, n_bytes: int) -> bytes:
        if self._path is None:
            return self._data[start : start + n_bytes]
        try:
            with self._path.open("rb") as file:
                file.seek(start)
                return file.read(n_bytes)
        except OSError as error:
            raise InvalidJob(f"{self._path}: {error.strerror}") from None


class Uploading:
    """One upload. Send `next` and pass on its answer, until there is none."""

    def __init__(self, source: Source, on_progress: OnProgress | None) -> None:
        self._source, self._on_progress = source, on_progress
        # None: ask the gateway first.
        self._n_bytes: int | None = None
        self._is_complete, self._refusals = False, 0

    @property
    def ref(self) -> ArtifactRef:
        return self._source.ref

    def next(self) -> Request[StoredFile] | None:
        ref = self._source.ref
        if self._is_complete:
            return None
        if self._n_bytes is None:
            return endpoints.stored_file(ref.sha256)
        # All of it may be there without being complete, if the gateway died at the end.
        start = max(0, min(self._n_bytes, ref.n_bytes - 1))
        return endpoints.put_part(ref, start, self._source.read(start, PART_BYTES))

    def took(self, stored: StoredFile) -> None:
        self._n_bytes, self._is_complete = stored.n_bytes, stored.is_complete
        if self._on_progress is not None:
            self._on_progress(stored.n_bytes, self._source.ref.n_bytes)

    def refused(self, error: ApiError) -> float:
        """-> how long to wait before `next`, s. Raises the error if the upload cannot go on."""
        if error.code == "file_not_found" and self._n_bytes is None:
            self._n_bytes = 0
            return 0.0
        self._refusals += 1
        if error.code not in ("upload_in_progress", "upload_offset_wrong") or self._refusals > _PATIENCE:
            raise error
        self._n_bytes = None
        return _PAUSE_S


class Downloading:
    """One download. What an earlier one has left beside the target is not asked for again."""

    def __init__(self, model: Model, target: Target | None, on_progress: OnProgress | None) -> None:
        """target: a file or a folder; by default `name-version.onnx` in this folder. InvalidJob if it cannot be
        written."""
        self._model, self._ref, self._on_progress = model, model.manifest.onnx, on_progress
        name = f"{model.name}-{model.version}.onnx"
        self._target = Path(name if target is None else target)
        if self._target.is_dir():
            self._target /= name
        self._part = self._target.with_name(f"{self._target.name}.{self._ref.sha256[:16]}.part")
        self._n_bytes = self._part.stat().st_size if self._part.is_file() else 0

    def next(self) -> Request[bytes] | None:
        if self._n_bytes >= self._ref.n_bytes:
            return None
        end = min(self._n_bytes + PART_BYTES, self._ref.n_bytes)
        return endpoints.model_part(self._model.name, self._model.version, self._n_bytes, end)

    def took(self, part: bytes) -> None:
        with _writing(self._part), self._part.open("ab") as file:
            file.write(part)
        self._n_bytes += len(part)
        if self._on_progress is not None:
            self._on_progress(self._n_bytes, self._ref.n_bytes)

    def finish(self) -> Path:
        """Put the file in its place. ProtocolError if it is not what the model's manifest names."""
        with _writing(self._target):
            with self._part.open("rb") as file:
                sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            if sha256 != self._ref.sha256:
                self._part.unlink()
                raise ProtocolError(f"what was downloaded is not the file of {self._model.ref}")
            self._part.replace(self._target)
        return self._target


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """InvalidJob for what the file system refuses."""
    try:
        yield
    except OSError as error:
        raise InvalidJob(f"{path}: {error.strerror}") from None


# The fields of a manifest that name a file.
_FILES = frozenset(
    field.name for field in msgspec.structs.fields(ModelDescription) if ArtifactRef in get_args(field.type)
)


class Publication:
    """What to publish. files: what to upload, by the field of the manifest; `onnx` for the model."""

    def __init__(
        self,
        model: object,
        manifest: ModelDescription | Mapping[str, Any] | None,
        fields: Mapping[str, Any],
        *,
        example: object = None,
    ) -> None:
        """model: Contents, or an object that is exported, with the example that exporting needs. manifest, fields:
        together they are the manifest. A file in it may be given like the model. InvalidJob, ExportFailed."""
        given: dict[str, Any] = {}
        if isinstance(manifest, msgspec.Struct):
            given = {name: getattr(manifest, name) for name in manifest.__struct_fields__}
        elif manifest is not None:
            given = dict(manifest)
        given |= {name: value for name, value in fields.items() if value is not None}
        made = exported(model, example, given)
        if made is not None:
            model, given = made.contents, made.shown | given
        # A mapping and an ArtifactRef name a file that was uploaded before.
        names = [name for name in given.keys() & _FILES if not isinstance(given[name], Mapping | ArtifactRef | None)]
        self.files: dict[str, Any] = {"onnx": model, **{name: given.pop(name) for name in sorted(names)}}
        self._manifest = given

    def spec(self, name: str, refs: Mapping[str, ArtifactRef]) -> dict[str, Any]:
        """The fields of the job. refs: of the files."""
        described = self._manifest | {field: ref for field, ref in refs.items() if field != "onnx"}
        return {"name": name, "onnx": refs["onnx"], **({"manifest": described} if described else {})}
