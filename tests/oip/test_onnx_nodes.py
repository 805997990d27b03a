"""ONNX's own node tests through the stock client: each answer has the bits that ONNX Runtime gives in process."""

from pathlib import Path

import anyio.to_thread
import numpy as np
import onnx
from gateway.surfaces.v2.datatypes import DATATYPE_OF
from shared_schemas.models import Dtype, ModelManifest
from shared_schemas.store.files import ArtifactStore
from tritonclient.http import InferenceServerClient, InferInput

from tests.inference.test_onnx_nodes import Passed, check_same, passed_in_process
from tests.support.gateways import driver, running_gateway
from tests.support.inference_process import inference_process
from tests.support.onnx_nodes import node_tests
from tests.support.onnx_tensors import DTYPES, Array, signature

# They have every datatype, scalars, tensors without values, and outputs whose size the values decide.
_SAMPLE = ("castlike", "equal", "isnan", "loop", "nonzero", "reshape", "string_concat", "where")


def given(name: str, array: Array, dtype: Dtype) -> InferInput:
    made = InferInput(name, list(array.shape), DATATYPE_OF[dtype])
    made.set_data_from_numpy(np.asarray(array))
    return made


def failures(url: str, tests: list[Passed]) -> list[str]:
    found = []
    with InferenceServerClient(url.removeprefix("http://")) as client:
        for number, each in enumerate(tests):
            inputs, outputs = signature(onnx.load_from_string(each.test.model))
            tensors = [given(spec.name, each.test.inputs[spec.name], spec.dtype) for spec in inputs]
            result = client.infer(f"node-{number}", tensors)
            try:
                for spec, there in zip(outputs, each.outputs, strict=True):
                    here = result.as_numpy(spec.name)
                    if spec.dtype == "string":
                        here = np.array([text.decode() for text in here.ravel()], dtype=np.object_).reshape(here.shape)
                    check_same(here, np.asarray(there))
            except AssertionError as error:
                found.append(f"{each.test.name}: {error}")
    return found


async def test_a_sample_of_the_node_tests_passes(redis_url: str, tmp_path: Path) -> None:
    passed = passed_in_process([test for test in node_tests(_SAMPLE) if test.is_carried])
    store = ArtifactStore(tmp_path / "artifacts")
    async with driver(redis_url) as drive:
        for number, each in enumerate(passed):
            inputs, outputs = signature(onnx.load_from_string(each.test.model))
            file = store.put_bytes(each.test.model)
            manifest = ModelManifest(task="tensors", model_type="onnx", onnx=file, inputs=inputs, outputs=outputs)
            await drive.publish(f"node-{number}", manifest=manifest)

    with running_gateway(redis_url, tmp_path) as gateway, inference_process(redis_url, tmp_path / "artifacts"):
        failed = await anyio.to_thread.run_sync(failures, gateway.url, passed)

    assert not failed, "\n".join(failed)
    specs = [spec for each in passed for part in signature(onnx.load_from_string(each.test.model)) for spec in part]
    assert {spec.dtype for spec in specs} == set(DTYPES)
    assert len(passed) > 40
