"""`headrace demo`: trains three models and serves them, on real processes over HTTP.

Knows the client and the running system, and nothing that is behind the gateway.
"""

import csv
import shlex
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
from headrace import Client, text
from headrace.addresses import DEFAULT_URL
from headrace.answer_lines import answer
from headrace.commands.command import COMMAND
from headrace.views import view_of
from rich.console import Console
from rich.markup import escape
from rich.text import Text
from shared_schemas.job import Job, JobState
from shared_schemas.models import TrainingResult
from shared_schemas.specs import Hyperparameters

from headrace_local.logs import Log
from headrace_local.samples import write_samples
from headrace_local.system import LocalSystem, SystemConfig, check_settings, running_system

_LOWER_IS_BETTER = ("perplexity", "rmse", "mae", "loss")
_SEED = 7
_PROMPT = "The value of the expression"
_TEXTS_SHOWN = 3
# The rule at the end is at most this long. A pipe counts as 240 columns wide.
_LINE_WIDTH = 80
_ROWS_SHOWN = 3


class Verdict(msgspec.Struct):
    """What went wrong; the exit code is 0 only if nothing did."""

    failures: list[str] = []

    def expect(self, holds: bool, failure: str) -> bool:
        if not holds:
            self.failures.append(failure)
        return holds


def run_demo(
    *,
    data_dir: Path | None,
    keep: bool,
    port: int,
    redis_url: str | None,
    environment: Mapping[str, str],
    console: Console,
    log: Log,
) -> bool:
    """-> whether every model beat its baseline and everything ended as expected"""
    began = time.monotonic()
    with _folder(data_dir, keep=keep) as folder:
        config = SystemConfig(
            data_dir=folder, environment=environment, port=port, redis_url=redis_url, drain_grace_s=10.0
        )
        check_settings(config)
        console.print("[bold]Headrace demo[/]  starting Redis, the gateway and two workers …")
        with running_system(config, log) as system, Client(system.url) as client:
            ready_s = time.monotonic() - began
            write_samples(config.data_root)
            demo = _Demo(client, system, console)
            demo.introduce(ready_s=ready_s)
            demo.train_and_serve()
            demo.replay()
            demo.verdict.expect(not any(s.deaths for s in system.services), "a service died on the way")
        kept = keep or data_dir is not None
        demo.conclude(took_s=time.monotonic() - began, kept=folder if kept else None)
    return not demo.verdict.failures


class _Demo:
    def __init__(self, client: Client, system: LocalSystem, console: Console) -> None:
        self.verdict = Verdict()
        self._client, self._system, self._console = client, system, console
        self._data = system.config.data_root
        self._jobs: list[tuple[str, str]] = []
        self._to_replay: Job | None = None

    def introduce(self, *, ready_s: float) -> None:
        workers = sorted(self._client.workers(), key=lambda worker: worker.kind)
        facts = [f"{worker.kind}: " + ", ".join(f"{k} {v}" for k, v in worker.facts.items()) for worker in workers]
        described = " · ".join([self._system.redis, *facts])
        self._console.print(f"  [dim]up at {self._system.url} after {ready_s:.1f} s[/]")
        self._console.print(f"  [dim]{escape(described)}[/]", soft_wrap=True)

    def train_and_serve(self) -> None:
        self._title("A table: mlp on wine.csv — 178 wines, 13 measurements, which of 3 cultivars?")
        if self._train("mlp", "wine.csv", "wine", measure="accuracy", hyperparameters=Hyperparameters(epochs=60)):
            self._classify_wines()
        self._title("Text: transformer on train.csv — which sort of help page is a sentence from?")
        if self._train("transformer", "train.csv", "sections", measure="accuracy"):
            self._classify_texts()
        self._title("Prose: transformer on topics.csv — a small language model, from nothing")
        if self._train("transformer", "topics.csv", "prose", measure="perplexity"):
            self._generate()

    def replay(self) -> None:
        if self._to_replay is None:
            return
        self._title("Replay: the same spec, seed and model version as a new job")
        reply = self._client.replay(self._to_replay.id)
        again = self._client.wait(reply.job_id, timeout_s=60.0)
        self._jobs.append(("replay", again.id))
        identical = again.replay is not None and again.replay.identical is True
        same = self.verdict.expect(identical, "the replay differs from its original")
        self._say("identical" if same else "different", f"digest {(again.digest or 'none')[:16]}…", good=same)

    def conclude(self, *, took_s: float, kept: Path | None) -> None:
        self._console.print("[dim]" + "─" * min(_LINE_WIDTH, self._console.width) + "[/]")
        if kept is None:
            self._console.print("  The demo has removed its jobs and models. To keep them and look around:")
            self._commands("demo --keep")
            self._console.print("  To begin with nothing but the data sets:")
            self._commands("up")
        else:
            self._say_what_to_try(kept)
        self._console.print()
        for failure in self.verdict.failures:
            self._console.print(f"  [bold red]✗[/] {escape(failure)}", soft_wrap=True)
        style, word = ("green", "All as it should be") if not self.verdict.failures else ("red", "Not as it should be")
        self._console.print(f"  [bold {style}]{word}[/] after {text.duration(took_s)}, everything stopped.")

    def _say_what_to_try(self, kept: Path) -> None:
        for what, job_id in self._jobs:
            self._console.print(f"  {what:<22} [dim]{job_id}[/]", soft_wrap=True)
        self._console.print()
        self._console.print("  The same system, until Ctrl-C:")
        redis = " --redis-url …" if self._system.config.redis_url is not None else ""
        self._commands(f"up --data-dir {shlex.quote(str(kept))}{redis}")
        self._console.print("  and beside it:")
        shown = self._jobs[0][1] if self._jobs else "JOB"
        self._commands(
            f"replay {shown} --speed 4",
            f"replay {self._to_replay.id if self._to_replay else 'JOB'} --run",
        )
        for command in (f"curl -N {DEFAULT_URL}/jobs/{shown}/events", f"curl {DEFAULT_URL}/models"):
            self._console.print(f"    {command}", soft_wrap=True)
        self._console.print(f"  {DEFAULT_URL}/docs in a browser is the whole API.", soft_wrap=True)

    def _commands(self, *commands: str) -> None:
        for command in commands:
            self._console.print(f"    [bold]{COMMAND} {escape(command)}[/]", soft_wrap=True)

    def _train(
        self,
        model_type: str,
        data: str,
        name: str,
        *,
        measure: str,
        hyperparameters: Hyperparameters | None = None,
    ) -> bool:
        reply = self._client.submit_training(
            model_type=model_type,
            data_path=data,
            output_model=name,
            seed=_SEED,
            hyperparameters=hyperparameters or Hyperparameters(),
        )
        job = self._watch(reply.job_id, f"training {name}")
        if not self.verdict.expect(job.state is JobState.SUCCEEDED, f"training {name}: {_why(job)}"):
            return False
        result = msgspec.json.decode(job.result, type=TrainingResult)
        reached, baseline = result.metrics.get(measure), result.baseline.get(measure)
        better = (
            reached is not None
            and baseline is not None
            and (reached < baseline if measure in _LOWER_IS_BETTER else reached > baseline)
        )
        self.verdict.expect(better, f"{name}: {measure} {text.number(reached)} against {text.number(baseline)}")
        trivial = {"accuracy": "the most frequent class", "perplexity": "uniform tokens"}.get(measure, "the mean")
        self._say(
            f"{measure} {text.number(reached)}",
            f"baseline {text.number(baseline)} ({trivial}) · {result.model}",
            good=better,
        )
        return True

    def _classify_wines(self) -> None:
        rows = _rows(self._data / "wine.csv")
        shown = [rows[i * len(rows) // _ROWS_SHOWN] for i in range(_ROWS_SHOWN)]
        target = "cultivar"
        inputs = [{name: float(value) for name, value in row.items() if name != target} for row in shown]
        for row, item in zip(shown, self._infer("wine", inputs, "three wines"), strict=True):
            self._row(Text.assemble("  ", (f"{target} {row[target]}: ", "dim")).append_text(answer(item).rich()))

    def _classify_texts(self) -> None:
        rows = [row for row in _rows(self._data / "train.csv") if len(row["text"]) >= 60]
        shown = [rows[(2 * i + 1) * len(rows) // (2 * _TEXTS_SHOWN)] for i in range(_TEXTS_SHOWN)]
        answers = self._infer("sections", [row["text"] for row in shown], "three texts")
        for row, item in zip(shown, answers, strict=True):
            self._row(Text(f"  “{text.shortened(row['text'], min(90, self._console.width - 4))}”", style="dim"))
            self._row(Text(f"    {row['label']}: ", style="dim").append_text(answer(item).rich()))

    def _generate(self) -> None:
        reply = self._client.submit_inference(
            model_id="prose",
            input_data=_PROMPT,
            parameters={"max_tokens": 80, "temperature": 0.7, "top_k": 40, "seed": _SEED},
        )
        self._console.print(f"  [dim]prompt:[/] {_PROMPT}")
        job = self._watch(reply.job_id, "inference prose")
        if self.verdict.expect(job.state is JobState.SUCCEEDED, f"generating: {_why(job)}"):
            self._to_replay = job
            made = msgspec.json.decode(job.result)
            self._say(f"{made['tokens']} tokens", f"ended by {made['finish_reason']}", good=True)

    def _infer(self, model: str, inputs: list[Any], what: str) -> list[Any]:
        began = time.monotonic()
        reply = self._client.submit_inference(model_id=model, input_data=inputs)
        self._jobs.append((f"inference {model}", reply.job_id))
        job = self._client.wait(reply.job_id, timeout_s=60.0)
        self._console.print(f"  [dim]{what} to {model}: answered in {text.duration(time.monotonic() - began)}[/]")
        if not self.verdict.expect(job.state is JobState.SUCCEEDED, f"inference {model}: {_why(job)}"):
            return [{} for _ in inputs]
        answers: list[Any] = msgspec.json.decode(job.result)
        return answers

    def _watch(self, job_id: str, title: str) -> Job:
        self._jobs.append((title, job_id))
        with view_of(job_id, self._console, title=title) as view:
            for event in self._client.events(job_id):
                view.show(event)
        return self._client.job(job_id)

    def _row(self, line: Text) -> None:
        self._console.print(line, no_wrap=True, overflow="ellipsis")

    def _title(self, line: str) -> None:
        self._console.print()
        self._console.print(f"[bold]{escape(line)}[/]", soft_wrap=True)

    def _say(self, finding: str, rest: str, *, good: bool) -> None:
        mark = "[bold green]✓[/]" if good else "[bold red]✗[/]"
        self._console.print(f"  {mark} [bold]{escape(finding)}[/]  [dim]{escape(rest)}[/]", soft_wrap=True)


@contextmanager
def _folder(data_dir: Path | None, *, keep: bool) -> Iterator[Path]:
    if data_dir is not None:
        yield data_dir
        return
    made = Path(tempfile.mkdtemp(prefix="headrace-demo-"))
    try:
        yield made
    finally:
        if not keep:
            shutil.rmtree(made, ignore_errors=True)


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as lines:
        return list(csv.DictReader(lines))


def _why(job: Job) -> str:
    return f"{job.state}" + (f", {job.error.code}: {job.error.message}" if job.error else "")
