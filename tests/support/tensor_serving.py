"""A worker's handler with models of the task tensors, asked without a queue."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest
from inference_worker.handler import InferenceHandler
from inference_worker.loading import LoadedModels
from inference_worker.settings import Settings
from shared_schemas.errors import AttemptFailed
from shared_schemas.models import Dtype, Model
from shared_schemas.outcome import Success
from shared_schemas.specs import InferenceParameters, InferenceSpec
from shared_schemas.store.files import ArtifactStore

from tests.support.attempts import CollectingAttempt
from tests.support.onnx_models import Published
from tests.support.onnx_tensors import a_tensor_model, identity


class Serving:
    def __init__(self, handler: InferenceHandler, models: LoadedModels) -> None:
        self._handler, self.models = handler, models

    async def outcome(self, input_data: Any, model_id: str = "model", **parameters: Any) -> Success:
        given = InferenceParameters(**parameters)
        spec = InferenceSpec(model_id=model_id, input_data=input_data, parameters=given)
        outcome = await self._handler.run(CollectingAttempt(spec))
        assert isinstance(outcome, Success)
        return outcome

    async def ask(self, input_data: Any, model_id: str = "model", **parameters: Any) -> Any:
        return msgspec.json.decode((await self.outcome(input_data, model_id, **parameters)).result)

    async def failure(self, input_data: Any = None) -> str:
        with pytest.raises(AttemptFailed) as failed:
            await self.outcome(input_data or {"x": [1]})
        return f"{failed.value.info().code}: {failed.value}"

    async def count_runs(self) -> int:
        async with self.models.use("model") as model:
            return model.engine.n_runs


@asynccontextmanager
async def serving(folder: Path, *models: Model, max_wait_ms: float = 0.0) -> AsyncIterator[Serving]:
    """The models' files are in the store of that folder."""
    limits = Settings(device="cpu", intra_op_threads=1, max_wait_ms=max_wait_ms)
    with anyio.fail_after(30):
        async with LoadedModels(Published(*models).resolve, ArtifactStore(folder), limits) as loaded:
            yield Serving(InferenceHandler(loaded, device="cpu"), loaded)


def an_identity(folder: Path, dtype: Dtype, shape: Sequence[int | str | None] | None = ("n",), **options: Any) -> Model:
    return a_tensor_model(ArtifactStore(folder), identity(dtype, shape), **options)
