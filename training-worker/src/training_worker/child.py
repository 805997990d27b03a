"""One attempt in a process of its own: reads an assignment, trains, exports, reports. Knows no Redis and no job id.

A crash, an out-of-memory kill or a poisoned CUDA context ends this process and nothing else. It dies with its parent.
"""

import ctypes
import hashlib
import inspect
import os
import signal
import sys
import threading
from pathlib import Path
from typing import IO

import torch
from shared_schemas.errors import ErrorInfo, HeadraceError
from shared_schemas.events import JobEvent, Logged
from shared_schemas.models import ModelManifest
from shared_schemas.store.files import ArtifactStore

from training_worker import device as devices
from training_worker import recipes
from training_worker.checkpoint import TrainState, load_checkpoint, save_checkpoint
from training_worker.export import export_model, quiet_threads
from training_worker.messages import (
    Assignment,
    Finished,
    Refused,
    Stopped,
    decode_assignment,
    frame,
    read_frame,
)
from training_worker.optim import optimiser_of
from training_worker.paths import resolve
from training_worker.recipes.recipe import Prepared, Recipe
from training_worker.tables import read_table
from training_worker.trainer import StoppedEarlyError, Trainer, weights_digest

PR_SET_PDEATHSIG = 1
DEFAULT_CHECKPOINT_EVERY_S = 30.0


class Line:
    """The pipe to the supervisor."""

    def __init__(self, target: IO[bytes]) -> None:
        self._target, self._lock = target, threading.Lock()

    def send(self, message: JobEvent | Finished | Refused | Stopped) -> None:
        with self._lock:
            self._target.write(frame(message))
            self._target.flush()


def main() -> None:
    parent = int(sys.argv[1])
    _die_with(parent)
    # Frames go out by the pipe that was standard output; whatever user code prints becomes lines of the log.
    line = Line(os.fdopen(os.dup(1), "wb"))
    os.dup2(2, 1)
    source = sys.stdin.buffer
    body = read_frame(source)
    if body is None:
        return
    stop = threading.Event()
    threading.Thread(target=_listen, args=(source, stop), daemon=True).start()
    try:
        line.send(_run(decode_assignment(body), line, stop))
    except StoppedEarlyError:
        line.send(Stopped())
    except HeadraceError as error:
        line.send(Refused(error=error.info()))
    except (MemoryError, torch.OutOfMemoryError):
        message = "the training process ran out of memory"
        line.send(Refused(error=ErrorInfo(code="out_of_memory", message=message)))


def _run(assignment: Assignment, line: Line, stop: threading.Event) -> Finished:
    spec, store = assignment.spec, ArtifactStore(Path(assignment.artifacts_root))
    recipe = recipes.find(spec.model_type)
    root = Path(assignment.data_root)
    table = read_table(resolve(spec.data_path, root))
    validation = None if spec.validation_path is None else read_table(resolve(spec.validation_path, root))
    quiet_threads(assignment.threads)
    device = devices.choose(assignment.device)
    devices.seed_everything(assignment.seed)
    prepared = recipe.prepare(spec, table, validation, seed=assignment.seed)
    prepared.model.to(device)
    optimiser = optimiser_of(prepared.model, prepared.plan)
    for told in (*prepared.describe(), f"device {devices.describe(device)}", _baseline(prepared)):
        line.send(Logged(line=told))
    state = TrainState()
    if assignment.checkpoint is not None:
        state = load_checkpoint(
            store,
            assignment.checkpoint.artifact,
            prepared.model,
            optimiser,
            device=device,
            starts_new_run=assignment.starts_new_run,
        )
        line.send(Logged(line=f"goes on from the checkpoint of step {assignment.checkpoint.step}"))
    trainer = Trainer(
        prepared,
        optimiser,
        device=device,
        seed=assignment.seed,
        checkpoint_every_s=spec.hyperparameters.checkpoint_every_s or DEFAULT_CHECKPOINT_EVERY_S,
        report=line.send,
        save=lambda state: save_checkpoint(store, state, prepared.model, optimiser),
        should_stop=stop.is_set,
    )
    metrics = trainer.fit(state)
    line.send(Logged(line="exporting to ONNX and checking it against torch"))
    digest = weights_digest(prepared.model)
    return Finished(
        manifest=_manifest(assignment, prepared, recipe, store, table.sha256, digest, metrics), steps=state.step
    )


def _manifest(
    assignment: Assignment,
    prepared: Prepared,
    recipe: Recipe,
    store: ArtifactStore,
    data_sha256: str,
    weights_sha256: str,
    metrics: dict[str, float | None],
) -> ModelManifest:
    export = prepared.export()
    onnx, opset = export_model(prepared.model, export, store)
    tokenizer = prepared.tokenizer
    return ModelManifest(
        task=prepared.task,
        model_type=assignment.spec.model_type,
        onnx=onnx,
        inputs=export.inputs,
        outputs=export.outputs,
        tokenizer=None if tokenizer is None else store.put_bytes(tokenizer, media_type="application/json"),
        labels=prepared.labels,
        features=prepared.features,
        target=prepared.target,
        context_length=prepared.context_length,
        parameters=sum(parameter.numel() for parameter in prepared.model.parameters()),
        metrics=metrics,
        baseline=prepared.baseline,
        hyperparameters=assignment.spec.hyperparameters,
        seed=assignment.seed,
        data_sha256=data_sha256,
        code_sha256=_code_digest(recipe),
        weights_sha256=weights_sha256,
        opset=opset,
    )


def _baseline(prepared: Prepared) -> str:
    told = ", ".join(f"{name} {value:.4g}" for name, value in prepared.baseline.items() if value is not None)
    return f"baseline to beat: {told}"


def _code_digest(recipe: Recipe) -> str:
    """Of the source of the recipe's package, file by file."""
    folder = Path(inspect.getfile(type(recipe))).parent
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*.py")):
        digest.update(path.name.encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _listen(source: IO[bytes], stop: threading.Event) -> None:
    """Any frame after the assignment asks to stop. The end of the pipe means that the supervisor is gone."""
    if read_frame(source) is None:
        os._exit(1)
    stop.set()


def _die_with(parent: int) -> None:
    """Be killed when the supervisor dies, however it dies."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        # It died before the line above.
        os._exit(1)


if __name__ == "__main__":
    main()
