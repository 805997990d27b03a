"""What routes and duties work with. `gateway.wiring` makes it, once for the process; a route finds
it in its Call."""

import msgspec
from shared_schemas.stream.batches import Batches
from shared_schemas.stream.change_log import ChangeLog
from shared_schemas.stream.connection import AsyncRedis
from shared_schemas.stream.control import JobControl
from shared_schemas.stream.dead_letters import DeadLetters
from shared_schemas.stream.jobs import Jobs
from shared_schemas.stream.nodes import Nodes
from shared_schemas.stream.queue_queries import QueueQueries
from shared_schemas.stream.queues import Queues
from shared_schemas.stream.registry import ModelRegistry
from shared_schemas.stream.removal import Removal
from shared_schemas.stream.timeline import Timeline

from gateway.feed.hub import Hub
from gateway.infer_statistics import InferStatistics
from gateway.instrument import GatewayObserver
from gateway.intake.batch_upload import BatchUploads
from gateway.intake.files import Files
from gateway.intake.known_models import KnownModels
from gateway.intake.recipes import Recipes
from gateway.intake.submission import Submissions
from gateway.intake.submit_and_follow import SubmitAndFollow
from gateway.settings import GatewaySettings
from gateway.switching import Switching


class Services(msgspec.Struct, frozen=True, kw_only=True):
    """catalog: the queues that exist."""

    settings: GatewaySettings
    observer: GatewayObserver
    client: AsyncRedis
    nodes: Nodes
    jobs: Jobs
    control: JobControl
    catalog: Queues
    queue_queries: QueueQueries
    dead_letters: DeadLetters
    timeline: Timeline
    change_log: ChangeLog
    registry: ModelRegistry
    removal: Removal
    switching: Switching
    recipes: Recipes
    files: Files
    submissions: Submissions
    batches: Batches
    batch_uploads: BatchUploads
    submit_and_follow: SubmitAndFollow
    hub: Hub
    known_models: KnownModels
    infer_statistics: InferStatistics
