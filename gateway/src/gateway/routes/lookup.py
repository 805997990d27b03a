"""The job that a path names, and the queues that a filter names. Knows no single route."""

from shared_schemas.errors import JobNotFound, MalformedId
from shared_schemas.ids import JobId, QueueName, kind_of_queue, parse_job_id, parse_queue
from shared_schemas.job import Job
from shared_schemas.kinds import JobKind
from shared_schemas.replies import ProblemItem

from gateway.edge.problems import ProblemError
from gateway.routes.route import PlainCall


async def find_job(call: PlainCall) -> Job:
    """The job whose id is in the path. JobNotFound, JobExpired, JobUnreadable,
    BackendUnavailable."""
    return await call.services.jobs.find(job_id_of(call.path["job_id"]))


def job_id_of(text: str) -> JobId:
    """JobNotFound if the text cannot be an id."""
    try:
        return parse_job_id(text)
    except MalformedId:
        raise JobNotFound("no such job") from None


def queues_of(kind: JobKind | None, name: str | None, *, pointer: str = "queue") -> list[QueueName] | None:
    """The queue of that name, or no queue if it is of another kind. None, for all queues, if no
    name is given. pointer: where the name was given, for the problem if it is malformed."""
    if name is None:
        return None
    try:
        queue = parse_queue(name)
    except MalformedId as error:
        item = ProblemItem(pointer=pointer, code="malformed_id", detail=str(error))
        raise ProblemError(422, "invalid_parameter", "not a queue's name", errors=[item]) from None
    return [queue] if kind in (None, kind_of_queue(queue)) else []
