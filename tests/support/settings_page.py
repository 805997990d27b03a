"""Makes the lists of docs/settings.md: every setting of every part, and every metric.

The text of a setting is in its Struct, and that of a metric in its declaration. Nothing of it is
here.

python -m tests.support.settings_page            write the lists
python -m tests.support.settings_page --check    exit with 1 if the page is out of date
"""

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import gateway.metrics
import inference_worker.metrics
import msgspec
import training_worker.metrics
import worker_runtime.metrics
from gateway.settings import GatewaySettings
from inference_worker.publishing.settings import PublishingSettings
from inference_worker.settings import Settings as InferenceSettings
from msgspec import Meta
from prometheus_client.metrics import MetricWrapperBase
from shared_schemas.stream.redis_settings import RedisSettings
from training_worker.settings import TrainingSettings
from worker_runtime.settings import RuntimeSettings

from tests.support.lists import item

PAGE = Path(__file__).parents[2] / "docs" / "settings.md"
# The Struct of each part, and the Struct that it extends. Settings of the latter are listed once.
PARTS: dict[str, tuple[type[msgspec.Struct], type[msgspec.Struct] | None]] = {
    "All parts": (RedisSettings, None),
    "Gateway": (GatewaySettings, RedisSettings),
    "Workers": (RuntimeSettings, RedisSettings),
    "Inference workers": (InferenceSettings, RuntimeSettings),
    "Publishing workers": (PublishingSettings, RuntimeSettings),
    "Training workers": (TrainingSettings, RuntimeSettings),
}
METRIC_MODULES = {
    "Gateway requests": gateway.metrics,
    "All workers": worker_runtime.metrics,
    "Inference only": inference_worker.metrics,
    "Training only": training_worker.metrics,
}


def made(text: str) -> str:
    """The page with its lists brought up to date. ValueError if it has no place for them."""
    for name, lines in {"settings": _settings(), "metrics": _metrics()}.items():
        begin, end = f"<!-- {name}: made by tests/support/settings_page.py -->\n", f"<!-- end of {name} -->\n"
        before, found, rest = text.partition(begin)
        _, closed, after = rest.partition(end)
        if not (found and closed):
            raise ValueError(f"the page has no place for its {name}")
        text = before + begin + "\n" + "\n".join(lines) + "\n\n" + end + after
    return text


def _settings() -> Iterator[str]:
    for place, (title, (settings, base)) in enumerate(PARTS.items()):
        inherited = {} if base is None else {field.name: field for field in msgspec.structs.fields(base)}
        if place:
            yield ""
        yield from (f"### {title}", "")
        for field in sorted(msgspec.structs.fields(settings), key=lambda field: field.name):
            if field.name not in inherited or inherited[field.name].default != field.default:
                yield _setting(field)


def _setting(field: msgspec.structs.FieldInfo) -> str:
    meta = next((part for part in get_args(field.type) if isinstance(part, Meta)), None)
    if meta is None or not meta.description:
        raise ValueError(f"the setting {field.name} has no description")
    limits = "; ".join([*_choices(get_args(field.type)[0]), *_limits(meta)])
    default = f"default {_shown(field.default)}" + f"; {limits}" * bool(limits)
    change = (meta.extra or {}).get("change", "")
    name = f"**`HEADRACE_{field.name.upper()}`** ({default})"
    return item(f"{name}: {meta.description}.", *([f"*Change it if* {change}."] if change else [])).rstrip()


def _choices(kind: Any) -> list[str]:
    return [f"one of {', '.join(map(str, get_args(kind)))}"] if get_origin(kind) is Literal else []


def _limits(meta: Meta) -> list[str]:
    limits = [("more than", meta.gt), ("at least", meta.ge), ("at most", meta.le)]
    return [" and ".join(f"{word} {limit:g}" for word, limit in limits if limit is not None)] * any(
        limit is not None for _, limit in limits
    )


def _shown(default: object) -> str:
    if default in ("", ()):
        return "none"
    return f"`{default}`"


def _metrics() -> Iterator[str]:
    queues = [([family], family._labelnames) for family in gateway.metrics.queue_families(None)]
    for place, (part, module) in enumerate(METRIC_MODULES.items()):
        metrics = [metric for metric in vars(module).values() if isinstance(metric, MetricWrapperBase)]
        yield from [""] * bool(place)
        yield from (f"### {part}", "")
        yield from (_metric(metric.describe(), metric._labelnames) for metric in metrics)
        if module is gateway.metrics:
            yield from ("", "### Queues, from every gateway", "")
            yield from (_metric(*one) for one in queues)


def _metric(families: Iterable[Any], labels: Iterable[str]) -> str:
    [family] = families
    suffix = "_total" if family.type == "counter" else ""
    labelled = f"; labels {names}" if (names := ", ".join(labels)) else ""
    return item(f"**`{family.name}{suffix}`** ({family.type}{labelled}): {family.documentation}.").rstrip()


def main() -> None:
    text = PAGE.read_text()
    if "--check" not in sys.argv[1:]:
        PAGE.write_text(made(text))
    elif made(text) != text:
        sys.exit("docs/settings.md is out of date: uv run python -m tests.support.settings_page")


if __name__ == "__main__":
    main()
