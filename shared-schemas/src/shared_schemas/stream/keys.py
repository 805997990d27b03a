"""Every key, spelled once for Python; lua/prelude.lua spells the same for the scripts.

    {hr:<queue>}:ready:<lane>              stream   group `workers`; an entry holds a job id and nothing else
    {hr:<queue>}:job:<id>                  hash     the truth about a job
    {hr:<queue>}:events:<id>               stream   its timeline; entry ids 1-0, 2-0, …
    {hr:<queue>}:listing:<state>:<lane>    zset     ids in a state, score 0: ordered by id, that is by time
    {hr:<queue>}:tagged:<tag>              zset     ids with a tag, likewise
    {hr:<queue>}:dead                      zset     dead letters: failed jobs not retried and not purged, likewise
    {hr:<queue>}:dead:<code>               zset     those of them that failed with this error code, likewise
    {hr:<queue>}:due                       zset     scheduled jobs by the time they are due, ms
    {hr:<queue>}:waiting                   zset     scheduled jobs whose dependencies are open, score 0
    {hr:<queue>}:deadlines                 zset     jobs that have not begun, by their start deadline, ms
    {hr:<queue>}:leases                    zset     running jobs by the end of their lease, ms
    {hr:<queue>}:expiring                  zset     finished jobs by the time they are dropped, ms
    {hr:<queue>}:gone:<id>                 string   tombstone of a dropped job, for a day
    {hr:<queue>}:deleted:<id>              string   that a job was deleted, for a day
    {hr:inference}:idem:<sha256>           string   "<job id> <fingerprint>" of an Idempotency-Key, of any queue
    {hr:<queue>}:log                       stream   state changes of all jobs, capped
    {hr:<queue>}:log_length                string   about how many changes it keeps, as a gateway sets it
    {hr:<queue>}:workers                   zset     workers by the end of their registration, ms
    {hr:<queue>}:worker:<name>             hash     one worker
    {hr:<queue>}:batches                   zset     batches, by the time when they are forgotten, ms
    {hr:<queue>}:batch:<id>                hash     lines, blank, digest, models, created, whole, cancelled
    {hr:<queue>}:batch_errors:<id>         hash     for each line that is no job, by its number, why
    {hr:<queue>}:cached                    zset     digests of questions with a cached result, by when it was made, ms
    {hr:<queue>}:cached:<digest>           string   id of the job that has the result
    {hr:<queue>}:mend                      string   an index was lost: how far `repair` has read the log
    {hr}:declared                          zset     the declared queues by the time of their last declaration, ms;
                                                    less than 0: since when the queue takes no jobs
    {hr}:store                             string   the version of all this, see store_version.py
    {hr}:artifacts                         string   identity of the artifact store, which also has it in a file
    {hr}:artifacts:turn                    string   a process removes files of the store, or did within the hour
    {hr:models}:names                      zset     names of published models, score 0
    {hr:models}:model:<name>               hash     versions (the last number given), alias:<alias> -> version
    {hr:models}:wanted                     zset     <token> <name>@<version> that workers should load -> until
    {hr:models}:version:<name>@<version>   hash     manifest, job, published (ms)
    {hr:models}:published:<name>           zset     published version numbers
    {hr:models}:staged:<job id>            hash     name, version, attempt, fence
    {hr:models}:staging                    set      job ids with a staged version
    {hr:models}:job:<job id>               string   <name>@<version>, the model of that job

    channels  {hr:<queue>}:job:<id>  new events of a job   {hr:<queue>}:bell  new entries of the log
              {hr:<queue>}:control    requests to running attempts
              {hr}:gateway            nothing: it keeps a gateway's connection subscribed

All keys of a queue share its hash tag, so every script runs in one slot of Redis Cluster.
"""

from enum import StrEnum
from functools import lru_cache

from shared_schemas.ids import JobId, QueueName, queue_of

GROUP = "workers"
ALL = "{hr}:"
DECLARED = f"{ALL}declared"
STORE = "{hr}:store"
MODELS = "{hr:models}:"
MODEL_NAMES = f"{MODELS}names"
STAGING = f"{MODELS}staging"
ARTIFACTS = "{hr}:artifacts"
ARTIFACTS_TURN = "{hr}:artifacts:turn"
# A channel to which nothing is published. A gateway always subscribes to it, so that its connection
# is subscribed even while nobody follows a job.
GATEWAY_CHANNEL = "{hr}:gateway"


class Lane(StrEnum):
    """The ready streams of a queue, in the order in which they are served. alone: jobs that must run alone, because
    their worker was lost several times while other jobs ran beside them. front: jobs that had begun before, and were
    released, resumed or lost with their worker. They do not wait behind a backlog."""

    ALONE = "alone"
    FRONT = "front"
    HIGH = "high"
    NORMAL = "normal"
    LOW = "low"


# In the order in which they are served.
LANES = tuple(Lane)


@lru_cache(maxsize=1024)
def tag(queue: QueueName) -> str:
    return f"{{hr:{queue}}}:"


def ready(queue: QueueName, lane: Lane) -> str:
    return f"{tag(queue)}ready:{lane}"


def job(job_id: JobId) -> str:
    return f"{tag(queue_of(job_id))}job:{job_id}"


def gone(job_id: JobId) -> str:
    return f"{tag(queue_of(job_id))}gone:{job_id}"


def events(job_id: JobId) -> str:
    return f"{tag(queue_of(job_id))}events:{job_id}"


def dead(queue: QueueName) -> str:
    return f"{tag(queue)}dead"


def log(queue: QueueName) -> str:
    return f"{tag(queue)}log"


def waiting(queue: QueueName) -> str:
    return f"{tag(queue)}waiting"


def batches(queue: QueueName) -> str:
    return f"{tag(queue)}batches"


def batch_errors(queue: QueueName, batch_id: str) -> str:
    return f"{tag(queue)}batch_errors:{batch_id}"


def log_length(queue: QueueName) -> str:
    return f"{tag(queue)}log_length"


def leases(queue: QueueName) -> str:
    return f"{tag(queue)}leases"


def workers(queue: QueueName) -> str:
    return f"{tag(queue)}workers"


def mend(queue: QueueName) -> str:
    return f"{tag(queue)}mend"


def worker(queue: QueueName, name: str) -> str:
    return f"{tag(queue)}worker:{name}"


def listing(queue: QueueName, state: str, lane: Lane) -> str:
    return f"{tag(queue)}listing:{state}:{lane}"


def model(name: str) -> str:
    return f"{MODELS}model:{name}"


def model_version(reference: str) -> str:
    """reference: `<name>@<version>`."""
    return f"{MODELS}version:{reference}"


def published(name: str) -> str:
    return f"{MODELS}published:{name}"


def staged(job_id: JobId) -> str:
    return f"{MODELS}staged:{job_id}"


def model_of_job(job_id: JobId) -> str:
    return f"{MODELS}job:{job_id}"


def job_channel(job_id: JobId) -> str:
    """The same name as the job's key. Channels and keys do not share names, and scripts have this one at hand."""
    return job(job_id)


def log_channel(queue: QueueName) -> str:
    return f"{tag(queue)}bell"


def control_channel(queue: QueueName) -> str:
    return f"{tag(queue)}control"
