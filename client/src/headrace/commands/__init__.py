"""The commands of the `headrace` command line: each turns options into one verb of the client.

This file only lists them: a module is loaded when one of its commands runs, so that `headrace --help` loads none.
"""

from typing import NamedTuple

from shared_schemas.kinds import JobKind


class Entry(NamedTuple):
    """name: as typed, of one word or two. module: has it in its COMMANDS. section: of the overview."""

    name: str
    help: str
    module: str
    section: str


SECTIONS = ("Submit", "Watch", "Manage jobs", "Dead letters", "The system", "On this machine")
ENTRIES = tuple(
    Entry(name, text, module, section)
    for section, module, names in (
        (
            "Submit",
            "headrace.commands.submitting",
            {f"submit {kind}": kind.summary for kind in JobKind},
        ),
        (
            "Watch",
            "headrace.commands.following",
            {
                "watch": "Show a job live until it ends: progress, loss, log, tokens, result.",
                "events": "Print a job's events as they come, one a line.",
                "replay": "Show a finished job again at its own pace, or run it again (--run).",
            },
        ),
        (
            "Manage jobs",
            "headrace.commands.jobs",
            {
                "list": "Jobs, the newest first.",
                "status": "Where a job stands now.",
                "attempts": "Who ran a job, when, for how long, and how each attempt ended.",
                "result": "What a job returned, once it has ended.",
                "cancel": "Cancel a job.",
                "pause": "Set a job aside until `resume`.",
                "resume": "Let a paused job go on.",
                "retry": "Submit a job that failed or was cancelled again, as a new job.",
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
                "dead-letters list": "Jobs that failed and were neither retried nor purged.",
                "dead-letters show": "One dead letter: its error, and every attempt.",
                "dead-letters retry": "Run dead letters again, each as a new job.",
                "dead-letters purge": "Take dead letters off the list.",
            },
        ),
        (
            "The system",
            "headrace.commands.inspecting",
            {
                "models": "Published models, the newest version of each.",
                "recipes": "Recipes: what can be trained, with which hyperparameters.",
                "queues": "Queues: how many jobs are in each state, and who serves them.",
                "workers": "Registered workers and what they run.",
            },
        ),
    )
    for name, text in names.items()
)
# From headrace-local, by entry points; named here so that whoever lacks it is told how to get it.
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
  141  whoever read the output has gone (as `head` does)
"""
