"""One attempt in the child: makes a recipe's context, lets it train, exports the model. Knows no process."""

import hashlib
import inspect
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
from recipe_kit import device as devices
from recipe_kit.checkpoint import LoadedCheckpoint, read_checkpoint
from recipe_kit.context import Context
from recipe_kit.data import Data
from recipe_kit.export import export_model
from recipe_kit.recipe import Recipe, Trained
from recipe_kit.trainer import weights_digest
from shared_schemas.artifacts import ArtifactRef
from shared_schemas.errors import AttemptFailed
from shared_schemas.events import JobEvent, Logged
from shared_schemas.models import ModelManifest
from shared_schemas.store.files import ArtifactStore

from training_worker.continuing import continued
from training_worker.installed import find, hyperparameters_of
from training_worker.messages import Assignment, Finished, Phase
from training_worker.paths import open_data

# Hexadecimal digits of a digest by which two of them are told apart.
_FACT = 16

Report = Callable[[JobEvent], None]


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """A run whose last step is done, before its export. series: the file of all that was measured, where the timeline
    has less. facts: what the weights depend on beside the specification."""

    recipe: Recipe[Any]
    context: Context[Any]
    trained: Trained
    series: ArtifactRef | None
    weights_sha256: str
    facts: dict[str, str]


def train(
    assignment: Assignment,
    *,
    report: Report,
    should_stop: Callable[[], bool],
    enter: Callable[[Phase], None] = lambda _: None,
) -> Finished:
    """report: takes events as they happen. should_stop: asked after each step. enter: told which phase begins.

    StoppedEarlyError when asked to stop; HeadraceError for data, a specification or a checkpoint that will not do.
    """
    store = ArtifactStore(Path(assignment.artifacts_root))
    enter("training")
    run = fit(assignment, store, report=report, should_stop=should_stop)
    enter("exporting")
    report(Logged(line="exporting to ONNX and checking it against torch"))
    return Finished(
        manifest=_manifest(assignment, run, store), steps=run.trained.steps, series=run.series, facts=run.facts
    )


def fit(assignment: Assignment, store: ArtifactStore, *, report: Report, should_stop: Callable[[], bool]) -> Run:
    """The same without what comes after the last step. store: where checkpoints go."""
    recipe = find(assignment.spec.model_type)
    devices.limit_threads(assignment.threads)
    context = context_of(assignment, recipe, store, report=report, should_stop=should_stop)
    trained = recipe.train(context)
    return Run(
        recipe=recipe,
        context=context,
        trained=trained,
        series=context.end(),
        weights_sha256=weights_digest(trained.model),
        facts=_facts(assignment, recipe, context),
    )


def context_of(
    assignment: Assignment,
    recipe: Recipe[Any],
    store: ArtifactStore,
    *,
    report: Report,
    should_stop: Callable[[], bool],
) -> Context[Any]:
    """What the recipe is given. The global random generators start from the seed. AttemptFailed, SpecRejected."""
    spec = submitted = assignment.spec
    root = Path(assignment.data_root)
    device = devices.choose(assignment.device)
    devices.seed_everything(assignment.seed)
    checkpoint = _checkpoint(assignment, store, report)
    if checkpoint is not None:
        spec = continued(spec, checkpoint.vocabulary, recipe.shape)
    validation = None
    if spec.validation_path is not None:
        validation = partial(open_data, spec.validation_path, root)
    return Context(
        spec=spec,
        submitted=submitted,
        hyperparameters=hyperparameters_of(recipe, spec.hyperparameters),
        data=Data(partial(open_data, spec.data_path, root), validation),
        store=store,
        seed=assignment.seed,
        device=device,
        send=report,
        should_stop=should_stop,
        checkpoint=checkpoint,
        starts_new_run=assignment.starts_new_run,
        metric_events=assignment.metric_events,
        owner=assignment.owner,
    )


def _checkpoint(assignment: Assignment, store: ArtifactStore, report: Report) -> LoadedCheckpoint | None:
    """What to go on from. A damaged checkpoint of the job itself costs time, not the job: it starts anew."""
    if assignment.checkpoint is None:
        return None
    try:
        checkpoint = read_checkpoint(store, assignment.checkpoint.artifact)
    except AttemptFailed as error:
        if assignment.starts_new_run:
            raise
        report(Logged(line=f"{error}: starts from the beginning", level="warning"))
        return None
    report(Logged(line=f"goes on from the checkpoint of step {assignment.checkpoint.step}"))
    return checkpoint


def _manifest(assignment: Assignment, run: Run, store: ArtifactStore) -> ModelManifest:
    trained, vocabulary = run.trained, run.trained.vocabulary
    onnx, opset = export_model(trained.model, trained.export, store)
    tokenizer = None
    if vocabulary.tokenizer is not None:
        tokenizer = store.put_bytes(vocabulary.tokenizer.encode(), media_type="application/json")
    assert vocabulary.task is not None  # noqa: S101 - Trained has checked it
    return ModelManifest(
        task=vocabulary.task,
        model_type=assignment.spec.model_type,
        onnx=onnx,
        inputs=trained.export.inputs,
        outputs=trained.export.outputs,
        tokenizer=tokenizer,
        labels=vocabulary.labels,
        features=vocabulary.features,
        feature_ranges=trained.feature_ranges,
        target=vocabulary.target,
        context_length=trained.context_length,
        parameters=sum(parameter.numel() for parameter in trained.model.parameters()),
        metrics=trained.metrics,
        baseline=trained.baseline,
        hyperparameters=run.context.spec.hyperparameters,
        seed=assignment.seed,
        data_sha256=run.context.data.sha256,
        code_sha256=_code_digest(run.recipe),
        weights_sha256=run.weights_sha256,
        opset=opset,
        data=trained.data,
    )


def _facts(assignment: Assignment, recipe: Recipe[Any], context: Context[Any]) -> dict[str, str]:
    """start: the checkpoint of another job that it began from."""
    facts = devices.facts(context.device) | {
        "data": context.data.sha256[:_FACT],
        "code": _code_digest(recipe)[:_FACT],
    }
    if (validation := context.data.validation_sha256) is not None:
        facts["validation_data"] = validation[:_FACT]
    if assignment.starts_new_run and assignment.checkpoint is not None:
        facts["start"] = assignment.checkpoint.artifact.sha256[:_FACT]
    return facts


def _code_digest(recipe: Recipe[Any]) -> str:
    """Of the source of the recipe's package, file by file; of its one file where it is in no package."""
    module = Path(inspect.getfile(type(recipe)))
    is_package = (module.parent / "__init__.py").exists()
    digest = hashlib.sha256()
    for path in sorted(module.parent.glob("*.py")) if is_package else [module]:
        digest.update(path.name.encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()
