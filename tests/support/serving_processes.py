"""A model behind a real gateway, Redis and inference worker, and questions to it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from headrace import AsyncClient
from shared_schemas.models import Model

from tests.support.gateways import driver, running_gateway
from tests.support.inference_process import inference_process

DEADLINE_S = 60.0


@asynccontextmanager
async def serving(redis_url: str, folder: Path, model: Model) -> AsyncIterator[AsyncClient]:
    async with driver(redis_url) as drive:
        await drive.publish(model.name, manifest=model.manifest)
    with running_gateway(redis_url, folder) as gateway, inference_process(redis_url, folder / "artifacts"):
        async with AsyncClient(gateway.url) as client:
            yield client


async def ask(client: AsyncClient, input_data: Any, **parameters: Any) -> Any:
    job = await client.submit_inference(model_id="model", input_data=input_data, parameters=parameters)
    return await client.result(job.job_id, timeout_s=DEADLINE_S)
