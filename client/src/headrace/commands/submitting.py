"""submit training, submit inference, …: turn options into a spec, or send JSON unchanged.

A kind of job that has no entry in _FORMS has no options of its own and takes only JSON.
"""

import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, get_args

import msgspec
from shared_schemas.codec import encode_json
from shared_schemas.kinds import JobKind
from shared_schemas.models import Aggregation
from shared_schemas.replies import Submitted
from shared_schemas.specs import BUILT_IN_RECIPES, SPECS, Priority

from headrace.client import Client
from headrace.commands.command import Command, Given, Parser, Several, WrongUsage, number, one_of, whole
from headrace.commands.ctrl_c import interruptible
from headrace.commands.jobs import print_submitted
from headrace.commands.shared import connected, print_end, print_watch_hint
from headrace.errors import InvalidJob
from headrace.terminal import err


class Fields(NamedTuple):
    """values: the fields of the spec that options have set. required: the values that must be
    given, by their names in the usage; None if missing."""

    required: Mapping[str, Any]
    values: Mapping[str, Any]


class Form(NamedTuple):
    """The options of one kind of job. example: an example of what follows
    `headrace submit <kind>`."""

    example: str
    options: Callable[[Parser], None]
    fields: Callable[[Given], Fields]


def _training_options(parser: Parser) -> None:
    add = parser.add_argument
    add("model_type", nargs="?", metavar="MODEL_TYPE", help="transformer, mlp or another recipe.")
    add("data_path", nargs="?", metavar="DATA_PATH", help="CSV under the gateway's data root.")
    add("--name", help="Publish the model under this name.")
    add("--task", help="classification, regression or language-modeling.")
    add("--text-column", metavar="NAME")
    add("--label-column", metavar="NAME")
    add("--feature-column", metavar="NAME", action=Several, help="Repeat for several.")
    add("--validation-path", metavar="PATH")
    add("--resume-from", metavar="JOB", help="Continue from this training job.")
    add("--epochs", type=whole())
    add("--max-steps", type=whole())
    add("-s", "--set", dest="settings", metavar="NAME=VALUE", action=Several, help="Any hyperparameter: width=128.")
    add("--seed", type=whole())


def _training(given: Given) -> Fields:
    hyperparameters = _pairs(given.settings or []) | _given(epochs=given.epochs, max_steps=given.max_steps)
    return Fields(
        required={"MODEL_TYPE": given.model_type, "DATA_PATH": given.data_path},
        values=_given(
            model_type=given.model_type,
            data_path=given.data_path,
            output_model=given.name,
            task=given.task,
            text_column=given.text_column,
            label_column=given.label_column,
            feature_columns=given.feature_column,
            validation_path=given.validation_path,
            resume_from=given.resume_from,
            seed=given.seed,
            hyperparameters=_hyperparameters(given.model_type, hyperparameters),
        ),
    )


def _inference_options(parser: Parser) -> None:
    add = parser.add_argument
    add("model_id", nargs="?", metavar="MODEL_ID", help="name, name@version, name@alias or a training job.")
    add("inputs", nargs="*", metavar="TEXT", help="One or more texts.")
    add("--row", metavar="JSON", action=Several, help="An input as JSON; repeat for several.")
    add("--max-tokens", type=whole())
    add("--temperature", type=number())
    add("--top-k", type=whole())
    add("--dimensions", type=whole(), help="How many numbers of each vector.")
    add("--aggregation", type=one_of(get_args(Aggregation)), help="How tokens become entities.")
    add("--stop", action=Several, metavar="TEXT", help="End generation here; repeat for several.")
    add("--seed", type=whole())
    add("--cache", action="store_true", help="Take the result of an earlier job with the same question.")


def _inference(given: Given) -> Fields:
    items: list[Any] = [*given.inputs, *(_json_value(text) for text in given.row or [])]
    parameters = _given(
        max_tokens=given.max_tokens,
        temperature=given.temperature,
        top_k=given.top_k,
        stop=given.stop,
        seed=given.seed,
        dimensions=given.dimensions,
        aggregation=given.aggregation,
    )
    return Fields(
        required={"MODEL_ID": given.model_id, "TEXT or --row": items or None},
        values=_given(
            model_id=given.model_id,
            input_data=(items[0] if len(items) == 1 else items) if items else None,
            parameters=parameters or None,
            cache=given.cache or None,
        ),
    )


def _shared_options(parser: Parser) -> None:
    add = parser.add_argument
    add("--queue")
    add("--priority", type=one_of(Priority), default=Priority.NORMAL.value, help=f"{', '.join(Priority)}.")
    add("--tag", action=Several, help="Repeat for several.")
    add("--timeout", type=number(0.0), metavar="SECONDS", help="How long one attempt may run.")
    add("--run-at", metavar="TIME", help="Run no earlier than this, e.g. 2030-01-31T12:00:00Z.")
    add("--depends-on", metavar="JOB", action=Several, help="A job that must succeed first; repeat for several.")
    add("--max-attempts", type=whole(1), metavar="N")
    add("--idempotency-key", metavar="KEY", help="A second submission with the same key makes no second job.")
    add("--json-body", metavar="FILE", help="The whole body as JSON, from a file or - for stdin.")
    add("--watch", action="store_true", help="Show the job live until it ends.")
    add("--wait", action="store_true", help="Wait until the job ends and print its result.")
    parser.add_common()


def submit(kind: JobKind, given: Given) -> None:
    body = _body(kind, given)
    with connected(given) as client:
        reply = client.submit_body(kind, body, idempotency_key=given.idempotency_key)
        if given.watch:
            from headrace.commands.following import watch_to_end

            watch_to_end(client, reply.job_id, as_json=given.as_json)
        elif given.wait:
            _wait(client, reply, as_json=given.as_json)
        else:
            print_submitted(reply, as_json=given.as_json)


def _wait(client: Client, reply: Submitted, *, as_json: bool) -> None:
    """Wait for the end and print the result. Prints the id first, in case
    the wait is interrupted."""
    try:
        err.print(f"submitted {reply.job_id}", "dim")
        with interruptible():
            job = client.wait(reply.job_id)
    except KeyboardInterrupt:
        print_watch_hint(reply.job_id)
        raise
    print_end(job, as_json=as_json)


def _body(kind: JobKind, given: Given) -> bytes:
    """JSON from a file or stdin unchanged, else the options as a spec that has been checked."""
    form = _FORMS.get(kind)
    fields = Fields({}, {}) if form is None else form.fields(given)
    if given.json_body is not None:
        if any(value is not None for value in fields.required.values()):
            raise WrongUsage("give the job as options or as --json-body, not both")
        return _read(given.json_body)
    if form is None:
        raise WrongUsage("missing --json-body")
    missing = [name for name, value in fields.required.items() if value is None]
    if missing:
        raise WrongUsage(f"missing {' and '.join(missing)}, or --json-body")
    return encode_json(_convert({**fields.values, **_options(given)}, SPECS[kind]))


def _read(source: str) -> bytes:
    if source == "-":
        return sys.stdin.buffer.read()
    try:
        return Path(source).read_bytes()
    except OSError as error:
        raise WrongUsage(f"--json-body {source}: {error.strerror}") from None


def _options(given: Given) -> dict[str, Any]:
    return _given(
        queue=given.queue,
        priority=given.priority,
        tags=given.tag,
        timeout_s=given.timeout,
        run_at=given.run_at,
        depends_on=given.depends_on,
        retry=None if given.max_attempts is None else {"max_attempts": given.max_attempts},
    )


def _given(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None and value != []}


def _pairs(settings: list[str]) -> dict[str, Any]:
    pairs = {}
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not equals:
            raise WrongUsage(f"--set {setting!r} is not NAME=VALUE")
        pairs[name.replace("-", "_")] = value
    return pairs


def _hyperparameters(model_type: str | None, given: dict[str, Any]) -> Any:
    """Check the hyperparameters of a built-in recipe. Those of other recipes are taken as JSON, or
    as texts if they are not JSON."""
    struct = BUILT_IN_RECIPES.get(model_type or "")
    if struct is not None and given:
        return _convert(given, struct)
    return {name: _json_or_text(value) if isinstance(value, str) else value for name, value in given.items()} or None


def _json_or_text(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text


def _json_value(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        raise WrongUsage(f"--row is not JSON: {error}") from None


def _convert(fields: Mapping[str, Any], kind: type[Any]) -> Any:
    try:
        return msgspec.convert(fields, kind, strict=False)
    except msgspec.ValidationError as error:
        raise InvalidJob(str(error)) from None


_FORMS = {
    JobKind.TRAINING: Form("mlp wine.csv --watch", _training_options, _training),
    JobKind.INFERENCE: Form('topics "The for statement" --watch', _inference_options, _inference),
}


def _command(kind: JobKind) -> Command:
    form = _FORMS.get(kind)

    def options(parser: Parser) -> None:
        if form is not None:
            form.options(parser)
        _shared_options(parser)

    example = "--json-body FILE --watch" if form is None else form.example
    return Command(f"{kind.summary}\n\n  headrace submit {kind} {example}", options, partial(submit, kind))


COMMANDS = {f"submit {kind}": _command(kind) for kind in JobKind}
