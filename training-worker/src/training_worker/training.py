"""An attempt from its assignment to a model in the store: reads, prepares, trains, exports. Knows no process."""

import hashlib
import inspect
from collections.abc import Callable
from pathlib import Path

import msgspec
import torch
from recipe_kit import device as devices
from recipe_kit.checkpoint import Saved, TrainState, read_checkpoint, save_checkpoint
from recipe_kit.export import export_model
from recipe_kit.facts import facts_of, told_of
from recipe_kit.optimiser import optimiser_of
from recipe_kit.recipe import Prepared, Recipe
from recipe_kit.series import Series
from recipe_kit.tables import Table, read_table
from recipe_kit.trainer import Trainer, weights_digest
from shared_schemas.artifacts import ArtifactRef
from shared_schemas.errors import AttemptFailed
from shared_schemas.events import JobEvent, Logged, Measured
from shared_schemas.models import DataFacts, ModelManifest
from shared_schemas.specs import TrainingSpec
from shared_schemas.store.files import ArtifactStore

from training_worker import recipes
from training_worker.continuing import continued
from training_worker.messages import Assignment, Finished, Phase
from training_worker.paths import open_data

DEFAULT_CHECKPOINT_EVERY_S = 30.0
# Hexadecimal digits of a digest by which two of them are told apart.
_FACT = 16


Report = Callable[[JobEvent], None]


class Trained(msgspec.Struct, frozen=True, kw_only=True):
    """A model at the end of its training. spec: with what it took from the job that it resumes. metrics: on held-out
    rows."""

    spec: TrainingSpec
    recipe: Recipe
    prepared: Prepared
    steps: int
    series: ArtifactRef | None
    metrics: dict[str, float | None]
    data_sha256: str
    data: DataFacts
    weights_sha256: str
    facts: dict[str, str]


def train(
    assignment: Assignment,
    *,
    report: Report,
    should_stop: Callable[[], bool],
    enter: Callable[[Phase], None] = lambda _: None,
) -> Finished:
    """report: takes events as they happen. should_stop: looked at after each step. enter: told what begins.

    StoppedEarlyError when asked to stop; HeadraceError for data, a specification or a checkpoint that will not do.
    """
    store = ArtifactStore(Path(assignment.artifacts_root))
    enter("training")
    trained = fit(assignment, store, report=report, should_stop=should_stop)
    enter("exporting")
    report(Logged(line="exporting to ONNX and checking it against torch"))
    return Finished(
        manifest=_manifest(assignment, trained, store),
        steps=trained.steps,
        series=trained.series,
        facts=trained.facts,
    )


def fit(assignment: Assignment, store: ArtifactStore, *, report: Report, should_stop: Callable[[], bool]) -> Trained:
    """The same without what comes after the last step. store: where checkpoints go."""
    spec = assignment.spec
    recipe = recipes.find(spec.model_type)
    root = Path(assignment.data_root)
    table = read_table(open_data(spec.data_path, root))
    validation = None
    if spec.validation_path is not None:
        validation = read_table(open_data(spec.validation_path, root), called="the validation data: ")
    devices.limit_threads(assignment.threads)
    device = devices.choose(assignment.device)
    devices.seed_everything(assignment.seed)
    saved = _checkpoint(assignment, store, report)
    learned = None if saved is None else saved.learned
    if learned is not None:
        spec = continued(spec, learned)
    prepared = recipe.prepare(spec, table, validation, seed=assignment.seed, learned=learned)
    prepared.model.to(device)
    optimiser = optimiser_of(prepared.model, prepared.plan)
    data = facts_of(assignment.spec, table, prepared)
    for told in told_of(data, table, validation):
        report(Logged(line=told))
    if assignment.starts_new_run and validation is None:
        report(Logged(line="rows that are held out may be among those that the job in resume_from was trained on"))
    for told in (*prepared.describe(), f"device {devices.describe(device)}", _baseline(prepared)):
        report(Logged(line=told))
    state = TrainState()
    if saved is not None:
        state = saved.restore(prepared.model, optimiser, device=device, starts_new_run=assignment.starts_new_run)

    def tell(event: JobEvent) -> None:
        if isinstance(event, Measured):
            series.add(event)
        else:
            report(event)

    trainer = Trainer(
        prepared,
        optimiser,
        device=device,
        seed=assignment.seed,
        checkpoint_every_s=spec.hyperparameters.checkpoint_every_s or DEFAULT_CHECKPOINT_EVERY_S,
        report=tell,
        save=lambda state: save_checkpoint(store, state, prepared, optimiser, spec, series.saved(), assignment.owner),
        should_stop=should_stop,
    )
    series_state, lines = (None, b"") if saved is None or assignment.starts_new_run else saved.series
    series = Series(store, report, most=assignment.metric_events, total=trainer.total, state=series_state, rest=lines)
    metrics = trainer.fit(state)
    return Trained(
        spec=spec,
        recipe=recipe,
        prepared=prepared,
        steps=state.step,
        series=series.end(),
        metrics=metrics,
        data_sha256=table.sha256,
        data=data,
        weights_sha256=weights_digest(prepared.model),
        facts=_facts(assignment, recipe, table, validation, device),
    )


def _checkpoint(assignment: Assignment, store: ArtifactStore, report: Report) -> Saved | None:
    """What to go on from. A damaged checkpoint of the job itself costs time, not the job: it starts anew."""
    if assignment.checkpoint is None:
        return None
    try:
        saved = read_checkpoint(store, assignment.checkpoint.artifact)
    except AttemptFailed as error:
        if assignment.starts_new_run:
            raise
        report(Logged(line=f"{error}: starts from the beginning", level="warning"))
        return None
    report(Logged(line=f"goes on from the checkpoint of step {assignment.checkpoint.step}"))
    return saved


def _manifest(assignment: Assignment, trained: Trained, store: ArtifactStore) -> ModelManifest:
    prepared = trained.prepared
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
        feature_ranges=prepared.feature_ranges,
        target=prepared.target,
        context_length=prepared.context_length,
        parameters=sum(parameter.numel() for parameter in prepared.model.parameters()),
        metrics=trained.metrics,
        baseline=prepared.baseline,
        hyperparameters=trained.spec.hyperparameters,
        seed=assignment.seed,
        data_sha256=trained.data_sha256,
        code_sha256=_code_digest(trained.recipe),
        weights_sha256=trained.weights_sha256,
        opset=opset,
        data=trained.data,
    )


def _facts(
    assignment: Assignment, recipe: Recipe, table: Table, validation: Table | None, device: torch.device
) -> dict[str, str]:
    """What the weights depend on beside the specification. start: the checkpoint of another job that it began from."""
    facts = devices.facts(device) | {"data": table.sha256[:_FACT], "code": _code_digest(recipe)[:_FACT]}
    if validation is not None:
        facts["validation_data"] = validation.sha256[:_FACT]
    if assignment.starts_new_run and assignment.checkpoint is not None:
        facts["start"] = assignment.checkpoint.artifact.sha256[:_FACT]
    return facts


def _baseline(prepared: Prepared) -> str:
    told = ", ".join(f"{name} {value:.4g}" for name, value in prepared.baseline.items() if value is not None)
    return f"baseline to beat: {told}"


def _code_digest(recipe: Recipe) -> str:
    """Of the source of the recipe's package, file by file; of its one file where it is in no package."""
    module = Path(inspect.getfile(type(recipe)))
    is_package = (module.parent / "__init__.py").exists()
    digest = hashlib.sha256()
    for path in sorted(module.parent.glob("*.py")) if is_package else [module]:
        digest.update(path.name.encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()
