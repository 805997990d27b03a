"""Only the table of kinds, and code for a single kind, names a kind of job or its spec.

All other modules ask a spec what it refers to (`shared_schemas.specs.JobOptions`), so a new kind
needs no change there. `tests/e2e/test_new_kind.py` adds one.
"""

import ast
from pathlib import Path

from shared_schemas.kinds import JobKind
from shared_schemas.specs import SPECS, JobOptions

ROOT = Path(__file__).parents[2]
SOURCES = ("shared-schemas", "worker-runtime", "gateway", "client", "deploy/local", "recipe-kit")
# The modules that may name a kind, each with the reason.
NAMED = {
    "shared-schemas/src/shared_schemas/kinds.py": "the table",
    "shared-schemas/src/shared_schemas/specs.py": "the spec of each kind",
    "shared-schemas/src/shared_schemas/stream/idempotency.py": "the protocol: keys of requests lie in this slot",
    "gateway/src/gateway/routes/dead_letters.py": "an example of a queue, in the OpenAPI document",
    "shared-schemas/src/shared_schemas/batches.py": "a line of a batch is an inference job",
    "gateway/src/gateway/routes/infer.py": "a request of the Open Inference Protocol is an inference job",
    "gateway/src/gateway/routes/oip.py": "a model is ready if a worker for inference is",
    "gateway/src/gateway/routes/table.py": "POST /models is another name of the route of one kind",
    "client/src/headrace/__init__.py": "exports the specs",
    "client/src/headrace/client.py": "submit_training and submit_inference, with the types of their specs",
    "client/src/headrace/async_client.py": "the same, awaited",
    "client/src/headrace/model_calls.py": "publish submits a job of one kind",
    "client/src/headrace/commands/publishing.py": "publish submits a job of one kind",
    "client/src/headrace/commands/submitting.py": "the options of `submit training` and `submit inference`",
    "deploy/local/src/headrace_local/programs.py": "which program `headrace up` starts for each kind",
    "deploy/local/src/headrace_local/testing.py": "a scripted training publishes the model that its spec names",
    "recipe-kit": "runs training jobs alone",
}


def sources() -> list[Path]:
    return [path for member in SOURCES for path in sorted((ROOT / member / "src").rglob("*.py"))]


def names_a_kind(path: Path) -> bool:
    """Whether its code has a member of JobKind, the Struct of a kind, or the name of a kind as a
    whole string."""
    members, structs = {kind.name for kind in JobKind}, {spec.__name__ for spec in SPECS.values()}
    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            case ast.Attribute(value=ast.Name(id="JobKind"), attr=attr) if attr in members:
                return True
            case ast.Name(id=name) | ast.alias(name=name) if name in structs:
                return True
            case ast.Constant(value=str() as text) if text in set(JobKind) | structs:
                return True
    return False


def test_only_these_modules_name_a_kind_of_job() -> None:
    found = {path.relative_to(ROOT).as_posix() for path in sources() if names_a_kind(path)}
    members = {name for name in NAMED if not name.endswith(".py")}

    assert {name for name in found if name.partition("/")[0] not in members} == set(NAMED) - members


def test_every_kind_has_one_spec_and_every_spec_a_kind() -> None:
    assert set(SPECS) == set(JobKind)
    assert set(SPECS.values()) == set(JobOptions.__subclasses__())
