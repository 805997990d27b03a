"""One attempt in the child: makes a context, lets the recipe train, and exports the model.

Knows no process, no pipe and no Redis.
"""

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

from training_worker.continuing import spec_from_source
from training_worker.installed import find, hyperparameters_of
from training_worker.messages import Assignment, Finished, Phase
from training_worker.paths import open_data

# Hexadecimal digits that are kept of a digest in a job's facts.
_FACT_DIGITS = 16

Report = Callable[[JobEvent], None]


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """A run that is trained and not yet exported. series: the file of all metrics; None if the
    timeline has all of them. facts: what the weights depend on besides the spec."""

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
    """Train and export one model.

    report: called with each event when it happens. should_stop: called after each step. enter:
    called with each phase when it begins. StoppedEarlyError if should_stop() was true;
    HeadraceError if the data, the spec or a checkpoint cannot be used, or if the training fails
    with a known cause.
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
    """Train without the export. store: of checkpoints and series. Raises as `train` does."""
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
    """The context that the recipe gets. Also seeds the global random generators. AttemptFailed,
    SpecRejected."""
    spec = submitted = assignment.spec
    root = Path(assignment.data_root)
    device = devices.choose(assignment.device)
    devices.seed_everything(assignment.seed)
    checkpoint = _checkpoint(assignment, store, report)
    if checkpoint is not None:
        spec = spec_from_source(spec, checkpoint.vocabulary, recipe.shape)
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
    """The checkpoint that the run starts from. If a checkpoint of the job itself is damaged, the
    run starts from the beginning: that costs time but not the job."""
    if assignment.checkpoint is None:
        return None
    try:
        checkpoint = read_checkpoint(store, assignment.checkpoint.artifact)
    except AttemptFailed as error:
        if assignment.starts_new_run:
            raise
        report(Logged(line=f"{error}: starting from the beginning", level="warning"))
        return None
    report(Logged(line=f"continuing from the checkpoint of step {assignment.checkpoint.step}"))
    return checkpoint


def _manifest(assignment: Assignment, run: Run, store: ArtifactStore) -> ModelManifest:
    """Export the model to the store, and describe it."""
    trained, vocabulary = run.trained, run.trained.vocabulary
    onnx, opset = export_model(trained.model, trained.export, store)
    tokenizer = None
    if vocabulary.tokenizer is not None:
        tokenizer = store.put_bytes(vocabulary.tokenizer.encode(), media_type="application/json")
    assert vocabulary.task is not None  # noqa: S101 - see Trained.__post_init__
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
        batch_axis=trained.batch_axis,
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
    """What the weights depend on besides the spec: the device, the version of torch, and digests of
    the data, of the code and of `start`, the checkpoint of another job that the run started
    from."""
    facts = devices.facts(context.device) | {
        "data": context.data.sha256[:_FACT_DIGITS],
        "code": _code_digest(recipe)[:_FACT_DIGITS],
    }
    if (validation := context.data.validation_sha256) is not None:
        facts["validation_data"] = validation[:_FACT_DIGITS]
    if assignment.starts_new_run and assignment.checkpoint is not None:
        facts["start"] = assignment.checkpoint.artifact.sha256[:_FACT_DIGITS]
    return facts


def _code_digest(recipe: Recipe[Any]) -> str:
    """sha256 over the source files of the recipe's package, or over its own file if it is in no
    package."""
    module = Path(inspect.getfile(type(recipe)))
    is_package = (module.parent / "__init__.py").exists()
    digest = hashlib.sha256()
    for path in sorted(module.parent.glob("*.py")) if is_package else [module]:
        digest.update(path.name.encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()
