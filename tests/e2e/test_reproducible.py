"""A replay under full load, through a real gateway, Redis and worker."""

from pathlib import Path

import anyio
import numpy as np
import pytest
from shared_schemas.store.files import ArtifactStore

from tests.support.onnx_models import a_model, int4, int8_dynamic
from tests.support.serving_processes import DEADLINE_S, ask, serving

MODELS = {"int4": int4, "int8_dynamic": int8_dynamic}
LOUD = [500.0] * 64


@pytest.mark.parametrize("name", MODELS)
async def test_a_replay_under_full_load_is_identical_if_the_job_asks_for_it(
    redis_url: str, tmp_path: Path, name: str
) -> None:
    features, labels = [f"f{i}" for i in range(64)], [f"l{i}" for i in range(4)]
    store = ArtifactStore(tmp_path / "artifacts")
    model = a_model(store, MODELS[name](64, 4), features=features, labels=labels)
    rows = np.random.default_rng(3).standard_normal((20, 64)).tolist()

    async with serving(redis_url, tmp_path, model) as client:

        async def submitted(row: list[float], *, reproducible: bool) -> str:
            parameters = {"reproducible": reproducible}
            job = await client.submit_inference(model_id="model", input_data=row, parameters=parameters)
            return job.job_id

        async def identical(ids: list[str]) -> list[bool | None]:
            """Of replays of these jobs, while rows of other sizes keep the model busy."""
            async with anyio.create_task_group() as load:

                async def flood() -> None:
                    while True:
                        await ask(client, LOUD)

                for _ in range(8):
                    load.start_soon(flood)
                replays = [(await client.replay(job_id)).job_id for job_id in ids]
                found = [(await client.wait(job_id, timeout_s=DEADLINE_S)).replay for job_id in replays]
                load.cancel_scope.cancel()
            return [None if replay is None else replay.identical for replay in found]

        # One after another: each of them runs alone.
        exact, rounded = list[str](), list[str]()
        for row in rows:
            exact.append(await submitted(row, reproducible=True))
            await client.result(exact[-1], timeout_s=DEADLINE_S)
            rounded.append(await submitted(row, reproducible=False))
            await client.result(rounded[-1], timeout_s=DEADLINE_S)
        exactly, about = await identical(exact), await identical(rounded)

    assert exactly == [True] * len(rows)
    # Negative control: beside loud rows, a scale for the whole batch changes whole digits.
    if name == "int8_dynamic":
        assert False in about
