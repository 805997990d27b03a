"""A model in this process, as an inference worker serves it: loaded, batched and asked by jobs."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest
from inference_worker.handler import InferenceHandler
from inference_worker.loading import LoadedModels
from inference_worker.settings import Settings
from shared_schemas.errors import AttemptFailed, InvalidInput
from shared_schemas.models import Model
from shared_schemas.outcome import Success
from shared_schemas.specs import InferenceParameters, InferenceSpec
from shared_schemas.store.files import ArtifactStore

from tests.support.attempts import CollectingAttempt
from tests.support.onnx_models import Published


class Serving:
    def __init__(self, handler: InferenceHandler, models: LoadedModels) -> None:
        self._handler, self._models = handler, models

    async def outcome(self, input_data: Any, **parameters: Any) -> Success:
        spec = InferenceSpec(model_id="model", input_data=input_data, parameters=InferenceParameters(**parameters))
        outcome = await self._handler.run(CollectingAttempt(spec))
        assert isinstance(outcome, Success)
        return outcome

    async def ask(self, input_data: Any, **parameters: Any) -> Any:
        return msgspec.json.decode((await self.outcome(input_data, **parameters)).result)

    async def failure(self, input_data: Any, **parameters: Any) -> str:
        with pytest.raises((AttemptFailed, InvalidInput)) as failed:
            await self.outcome(input_data, **parameters)
        return f"{failed.value.info().code}: {failed.value}"

    async def count_runs(self) -> int:
        async with self._models.use("model") as model:
            return model.engine.n_runs


@asynccontextmanager
async def serving(folder: Path, model: Model, *, max_wait_ms: float = 0.0) -> AsyncIterator[Serving]:
    limits = Settings(device="cpu", intra_op_threads=1, max_wait_ms=max_wait_ms)
    with anyio.fail_after(30):
        async with LoadedModels(Published(model).resolve, ArtifactStore(folder), limits) as loaded:
            yield Serving(InferenceHandler(loaded, device="cpu"), loaded)
