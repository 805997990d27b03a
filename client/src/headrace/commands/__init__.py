"""The commands of the `headrace` command line. Each turns its options into calls of the client.

This file only lists them. A module is imported when one of its commands runs, so
`headrace --help` imports none.
"""

from typing import NamedTuple

from shared_schemas.kinds import JobKind


class Entry(NamedTuple):
    """name: one or two words, as typed. module: has the command in its COMMANDS.
    section: of `headrace --help`."""

    name: str
    help: str
    module: str
    section: str


SECTIONS = ("Submit", "Batches", "Watch", "Manage jobs", "Dead letters", "Models", "The system", "On this machine")
ENTRIES = tuple(
    Entry(name, text, module, section)
    for section, module, names in (
        (
            "Submit",
            "headrace.commands.submitting",
            {f"submit {kind}": kind.summary for kind in JobKind},
        ),
        (
            "Batches",
            "headrace.commands.batches",
            {
                "batch submit": "Submit each line of a file as an inference job.",
                "batch list": "List the newest batches.",
                "batch status": "Show how far a batch is.",
                "batch output": "Print the results of a batch so far.",
                "batch errors": "Print the lines and jobs of a batch that failed.",
                "batch cancel": "Cancel all jobs of a batch that have not ended.",
            },
        ),
        (
            "Watch",
            "headrace.commands.following",
            {
                "watch": "Show a job live until it ends: progress, loss, log, tokens, result.",
                "events": "Print a job's events as they come, one per line.",
                "replay": "Show a finished job again at its own pace, or run it again (--run).",
            },
        ),
        (
            "Manage jobs",
            "headrace.commands.jobs",
            {
                "list": "List jobs, newest first.",
                "status": "Show a job's state and progress now.",
                "attempts": "List a job's attempts: worker, start, duration, how it ended.",
                "result": "Print a job's result, once it has ended.",
                "cancel": "Cancel a job.",
                "pause": "Pause a job until `resume`.",
                "resume": "Continue a paused job.",
                "retry": "Submit a failed or cancelled job again, as a new job.",
            },
        ),
        (
            "Manage jobs",
            "headrace.commands.deleting",
            {"delete": "Delete finished jobs, and versions of models."},
        ),
        (
            "Dead letters",
            "headrace.commands.dead_letters",
            {
                "dead-letters list": "List jobs that failed and were neither retried nor purged.",
                "dead-letters show": "Show a dead letter: its error and every attempt.",
                "dead-letters retry": "Run dead letters again, each as a new job.",
                "dead-letters purge": "Take dead letters off the list.",
            },
        ),
        (
            "Models",
            "headrace.commands.publishing",
            {
                "publish": "Publish an ONNX file as a model.",
                "download": "Download the ONNX file of a model.",
            },
        ),
        (
            "Models",
            "headrace.commands.aliases",
            {
                "alias set": "Let an alias name a version of a model.",
                "alias delete": "Delete an alias of a model.",
            },
        ),
        (
            "The system",
            "headrace.commands.inspecting",
            {
                "models": "List published models, the newest version of each.",
                "recipes": "List recipes and their hyperparameters.",
                "queues": "List queues: jobs in each state, and number of workers.",
                "workers": "List workers and the jobs that they run.",
            },
        ),
    )
    for name, text in names.items()
)
# Commands of headrace-local, found by entry points. They are named here so that an error
# can say how to install it.
FROM_LOCAL = {
    "up": "Run the whole system on this machine.",
    "demo": "Train, serve and watch a model on this machine.",
    "gc": "Remove files that no job and no model refers to.",
}
EXIT_CODES = """\
Exit codes:
  0  all well
  1  the job failed or was cancelled, or its replay differs
  2  wrong usage, or the gateway refused what was sent
  3  no such job or model
  4  the job's state forbids it
  5  cannot reach the gateway
  6  waited too long
  7  an error inside the gateway, or the output cannot be written
  130  Ctrl-C; `up` ends with 0 after one, 130 after two
  141  the output was closed early (as by `head`)
"""
