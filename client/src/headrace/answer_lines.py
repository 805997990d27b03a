"""Shows the result of a job to a person: one line for each answer, and its warnings below.

A result does not name its task, so an answer is recognised by its fields. The files of
`inference_worker.tasks` define these fields. They are not imported, because a client must not need
numpy. An unknown answer is shown as JSON.
"""

from typing import Any

import msgspec
from shared_schemas.job import Job

from headrace import text
from headrace.ink import Text
from headrace.terminal import Terminal

_MAX_SCORES = 5
_MAX_VALUES = 8


def print_result(terminal: Terminal, job: Job, *, is_text_seen: bool = False) -> None:
    """Print the answers of a job. is_text_seen: the generated text was shown already, so
    print only how it ended."""
    value = msgspec.json.decode(job.result)
    items = value if isinstance(value, list) else [value]
    for item in items:
        terminal.print(answer(item, is_text_seen=is_text_seen))


def answer(item: Any, *, is_text_seen: bool = False) -> Text:
    """One answer of an inference job, or a training result, with its warnings."""
    return Text.assemble(_answer(item, is_text_seen=is_text_seen), _warnings(item))


def _warnings(item: Any) -> Text:
    match item:
        case {"warnings": [*warnings]}:
            return Text("".join(f"\n  ! {_warning(each)}" for each in warnings), style="yellow")
        case _:
            return Text()


def _warning(each: Any) -> str:
    match each:
        case {"code": "outside_training_range", "feature": feature, **rest}:
            more = f" and {rest['more']} more features" if rest.get("more") else ""
            return f"{feature}{more}: far from all that the model was trained on"
        case {"code": "input_truncated"}:
            return "the text is longer than the model's context: not all of it was read"
        case _:
            return str(each)


def _answer(item: Any, *, is_text_seen: bool) -> Text:
    match item:
        case {"error": {"code": code, "message": message}}:
            return Text.assemble(("  error ", "red"), f"{code}: {message}")
        case {"label": label, "score": score, "scores": scores}:
            others = " · ".join(f"{name} {p:.1%}" for name, p in list(scores.items())[:_MAX_SCORES] if name != label)
            return Text.assemble("  ", (str(label), "bold green"), f" {score:.1%}  ", (others, "dim"))
        case {"prediction": prediction}:
            return Text.assemble("  ", (text.number(prediction), "bold green"))
        case {"entities": entities, "tokens": tokens}:
            return _entities(entities, tokens)
        case {"results": [*results]}:
            more = [Text(f"  and {len(results) - _MAX_VALUES} more", "dim")] if len(results) > _MAX_VALUES else []
            return Text("\n").join([*map(_ranked, results[:_MAX_VALUES]), *more])
        case {"embedding": vector, "tokens": tokens}:
            return _vector(vector, tokens)
        case {"outputs": {**outputs}}:
            return Text("\n").join(_tensor(str(name), tensor) for name, tensor in outputs.items())
        case {"text": made, "finish_reason": reason, "tokens": tokens}:
            return Text.assemble(("" if is_text_seen else made, "green"), (f"  [{tokens} tokens, {reason}]", "dim"))
        case {"model": model, "metrics": values, "baseline": baseline}:
            return Text.assemble(
                "  model ", (str(model or "none: a replay publishes no model"), "bold"), f"  {text.metrics(values)}",
                (f"  (baseline: {text.metrics(baseline)})", "dim"),
            )  # fmt: skip
        case {"model": model, "onnx": _, "inputs": [*takes], "outputs": [*gives]}:
            named = str(model or "none: a replay publishes no model")
            made_of = f"  {', '.join(map(_declared, takes))} → {', '.join(map(_declared, gives))}"
            return Text.assemble("  model ", (named, "bold"), (made_of, "dim"))
        case _:
            return Text(msgspec.json.format(msgspec.json.encode(item), indent=2).decode())


def _declared(tensor: Any) -> str:
    """An input or output of a model, such as `x float32[n, 2]`."""
    match tensor:
        case {"name": name, "dtype": dtype, "shape": [*sizes]}:
            return f"{name} {dtype}[{', '.join(str(size or '?') for size in sizes)}]"
        case {"name": name, "dtype": dtype}:
            return f"{name} {dtype}"
        case _:
            return str(tensor)


def _entities(entities: Any, tokens: Any) -> Text:
    """The entities of a text, one in a line."""
    match entities:
        case [_, *_]:
            return Text("\n").join(map(_entity, entities))
        case _:
            found = "no entities" if entities == [] else "no scores that are finite"
            return Text.assemble("  ", (found, "bold"), (f"  {tokens} tokens", "dim"))


def _entity(entity: Any) -> Text:
    match entity:
        case {"label": label, "score": score, "start": start, "end": end, "text": part}:
            place = (f"  from {start} to {end}", "dim")
            return Text.assemble("  ", (str(label), "bold green"), f" {score:.1%}  {part}", place)
        case _:
            return Text(f"  {entity}")


def _ranked(document: Any) -> Text:
    """One document of a ranking."""
    match document:
        case {"index": index, "relevance_score": score}:
            return Text.assemble("  ", (text.number(score), "bold green"), (f"  document {index}", "dim"))
        case _:
            return Text(f"  {document}")


def _vector(vector: Any, tokens: Any) -> Text:
    """The first numbers of the vector of a text."""
    match vector:
        case [*numbers]:
            first = ", ".join(text.number(each) for each in numbers[:_MAX_VALUES])
            more = f" … {len(numbers)} dimensions, {tokens} tokens"
            return Text.assemble("  ", (first, "bold green"), (more, "dim"))
        case _:
            return Text.assemble("  ", ("no vector of finite numbers", "bold"), (f"  {tokens} tokens", "dim"))


def _tensor(name: str, tensor: Any) -> Text:
    """The first values of one output of a model of tensors."""
    match tensor:
        case {"dtype": dtype, "shape": shape, "data": [*data]}:
            first = ", ".join(text.number(each) if type(each) is float else str(each) for each in data[:_MAX_VALUES])
            more = f" and {len(data) - _MAX_VALUES} more" if len(data) > _MAX_VALUES else ""
            return Text.assemble(f"  {name} ", (f"{dtype}{shape}  ", "dim"), (first, "bold green"), (more, "dim"))
        case _:
            return Text(f"  {name}")
