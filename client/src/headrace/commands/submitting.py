"""submit training, submit inference: options into a spec, or JSON as it stands."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from shared_schemas.codec import encode_json
from shared_schemas.ids import JobKind
from shared_schemas.replies import Submitted
from shared_schemas.specs import Hyperparameters, InferenceSpec, JobOptions, Priority, TrainingSpec

from headrace.client import Client
from headrace.commands.following import print_end, watch_to_end
from headrace.commands.jobs import print_submitted
from headrace.commands.shared import JsonOption, UrlOption, connected
from headrace.connection import DEFAULT_URL
from headrace.errors import InvalidJob

_BodyOption = Annotated[
    str | None, typer.Option("--json-body", metavar="FILE", help="The whole body as JSON, from a file or - for stdin.")
]
_WatchOption = Annotated[bool, typer.Option("--watch", help="Show the job live until it ends.")]
_WaitOption = Annotated[bool, typer.Option("--wait", help="Wait silently until it ends and print its result.")]
_QueueOption = Annotated[str | None, typer.Option("--queue")]
_PriorityOption = Annotated[Priority, typer.Option("--priority")]
_TagOption = Annotated[list[str] | None, typer.Option("--tag", help="Repeat for several.")]
_TimeoutOption = Annotated[float | None, typer.Option("--timeout", help="Seconds that one attempt may run.")]
_RunAtOption = Annotated[str | None, typer.Option("--run-at", help="Not before, e.g. 2030-01-31T12:00:00Z.")]
_DependsOption = Annotated[list[str] | None, typer.Option("--depends-on", help="A job that must succeed first.")]
_AttemptsOption = Annotated[int | None, typer.Option("--max-attempts")]
_SeedOption = Annotated[int | None, typer.Option("--seed")]
_KeyOption = Annotated[str | None, typer.Option("--idempotency-key", help="The same key makes no second job.")]


def register(app: typer.Typer) -> None:
    group = typer.Typer(no_args_is_help=True, help="Submit a job.")
    group.command()(training)
    group.command()(inference)
    app.add_typer(group, name="submit")


def training(
    model_type: Annotated[str | None, typer.Argument(help="transformer, mlp or a recipe of your own.")] = None,
    data_path: Annotated[str | None, typer.Argument(help="CSV under the gateway's data root.")] = None,
    name: Annotated[str | None, typer.Option("--name", help="Publish the model under this name.")] = None,
    task: Annotated[str | None, typer.Option("--task", help="classification, regression or language-modeling.")] = None,
    text_column: Annotated[str | None, typer.Option("--text-column")] = None,
    label_column: Annotated[str | None, typer.Option("--label-column")] = None,
    feature_column: Annotated[list[str] | None, typer.Option("--feature-column", help="Repeat for several.")] = None,
    validation_path: Annotated[str | None, typer.Option("--validation-path")] = None,
    resume_from: Annotated[str | None, typer.Option("--resume-from", help="A training job to go on from.")] = None,
    epochs: Annotated[int | None, typer.Option("--epochs")] = None,
    max_steps: Annotated[int | None, typer.Option("--max-steps")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", "-s", metavar="NAME=VALUE", help="Any hyperparameter, e.g. width=128.")
    ] = None,
    seed: _SeedOption = None,
    queue: _QueueOption = None,
    priority: _PriorityOption = Priority.NORMAL,
    tag: _TagOption = None,
    timeout: _TimeoutOption = None,
    run_at: _RunAtOption = None,
    depends_on: _DependsOption = None,
    max_attempts: _AttemptsOption = None,
    idempotency_key: _KeyOption = None,
    json_body: _BodyOption = None,
    watch: _WatchOption = False,
    wait: _WaitOption = False,
    url: UrlOption = DEFAULT_URL,
    as_json: JsonOption = False,
) -> None:
    """Train a model on a CSV and publish it: headrace submit training mlp wine.csv --watch"""
    hyperparameters = _pairs(settings or []) | _given(epochs=epochs, max_steps=max_steps)
    body = _body(
        TrainingSpec,
        json_body,
        required={"MODEL_TYPE": model_type, "DATA_PATH": data_path},
        fields=_given(
            model_type=model_type,
            data_path=data_path,
            output_model=name,
            task=task,
            text_column=text_column,
            label_column=label_column,
            feature_columns=feature_column,
            validation_path=validation_path,
            resume_from=resume_from,
            seed=seed,
            hyperparameters=_convert(hyperparameters, Hyperparameters) if hyperparameters else None,
        )
        | _options(queue, priority, tag, timeout, run_at, depends_on, max_attempts),
    )
    with connected(url) as client:
        reply = client.submit_body(JobKind.TRAINING, body, idempotency_key=idempotency_key)
        _after_submission(client, reply, watch=watch, wait=wait, as_json=as_json)


def inference(
    model_id: Annotated[str | None, typer.Argument(help="name, name@version, name@alias or a training job.")] = None,
    inputs: Annotated[list[str] | None, typer.Argument(metavar="TEXT...", help="One text or several.")] = None,
    row: Annotated[
        list[str] | None, typer.Option("--row", metavar="JSON", help="An input as JSON; repeat for several.")
    ] = None,
    max_tokens: Annotated[int | None, typer.Option("--max-tokens")] = None,
    temperature: Annotated[float | None, typer.Option("--temperature")] = None,
    top_k: Annotated[int | None, typer.Option("--top-k")] = None,
    stop: Annotated[list[str] | None, typer.Option("--stop", help="End generation here; repeat for several.")] = None,
    seed: _SeedOption = None,
    queue: _QueueOption = None,
    priority: _PriorityOption = Priority.NORMAL,
    tag: _TagOption = None,
    timeout: _TimeoutOption = None,
    run_at: _RunAtOption = None,
    depends_on: _DependsOption = None,
    max_attempts: _AttemptsOption = None,
    idempotency_key: _KeyOption = None,
    json_body: _BodyOption = None,
    watch: _WatchOption = False,
    wait: _WaitOption = False,
    url: UrlOption = DEFAULT_URL,
    as_json: JsonOption = False,
) -> None:
    """Run a published model: headrace submit inference topics "The for statement" --watch"""
    items: list[Any] = [*(inputs or []), *(_json_value(text) for text in row or [])]
    parameters = _given(max_tokens=max_tokens, temperature=temperature, top_k=top_k, stop=stop, seed=seed)
    body = _body(
        InferenceSpec,
        json_body,
        required={"MODEL_ID": model_id, "TEXT or --row": items or None},
        fields=_given(
            model_id=model_id,
            input_data=(items[0] if len(items) == 1 else items) if items else None,
            parameters=parameters or None,
        )
        | _options(queue, priority, tag, timeout, run_at, depends_on, max_attempts),
    )
    with connected(url) as client:
        reply = client.submit_body(JobKind.INFERENCE, body, idempotency_key=idempotency_key)
        _after_submission(client, reply, watch=watch, wait=wait, as_json=as_json)


def _after_submission(client: Client, reply: Submitted, *, watch: bool, wait: bool, as_json: bool) -> None:
    if watch:
        watch_to_end(client, reply.job_id, as_json=as_json)
    elif wait:
        print_end(client.wait(reply.job_id), as_json=as_json)
    else:
        print_submitted(reply, as_json=as_json)


def _body(
    kind: type[JobOptions], source: str | None, *, required: Mapping[str, Any], fields: Mapping[str, Any]
) -> bytes:
    """JSON from a file or stdin as it stands, else the options, checked before anything is sent."""
    if source is not None:
        if any(value is not None for value in required.values()):
            raise typer.BadParameter("give the job as options or as --json-body, not both")
        return _read(source)
    missing = [name for name, value in required.items() if value is None]
    if missing:
        raise typer.BadParameter(f"missing {' and '.join(missing)}, or --json-body")
    return encode_json(_convert(fields, kind))


def _read(source: str) -> bytes:
    if source == "-":
        return sys.stdin.buffer.read()
    try:
        return Path(source).read_bytes()
    except OSError as error:
        raise typer.BadParameter(f"{source}: {error.strerror}", param_hint="--json-body") from None


def _options(
    queue: str | None,
    priority: Priority,
    tag: list[str] | None,
    timeout: float | None,
    run_at: str | None,
    depends_on: list[str] | None,
    max_attempts: int | None,
) -> dict[str, Any]:
    return _given(
        queue=queue,
        priority=priority.value,
        tags=tag,
        timeout_s=timeout,
        run_at=run_at,
        depends_on=depends_on,
        retry=None if max_attempts is None else {"max_attempts": max_attempts},
    )


def _given(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None and value != []}


def _pairs(settings: list[str]) -> dict[str, Any]:
    pairs = {}
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not equals:
            raise typer.BadParameter(f"{setting!r} is not NAME=VALUE", param_hint="--set")
        pairs[name.replace("-", "_")] = value
    return pairs


def _json_value(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        raise typer.BadParameter(f"not JSON: {error}", param_hint="--row") from None


def _convert(fields: Mapping[str, Any], kind: type[Any]) -> Any:
    try:
        return msgspec.convert(fields, kind, strict=False)
    except msgspec.ValidationError as error:
        raise InvalidJob(str(error)) from None
