"""Makes every part of the gateway and gives each the parts that it needs. Handles no request.

Only `gateway.app` and the entry points call it. Every other module states in its signatures what it
needs, and is given that.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from shared_schemas.ids import QueueName
from shared_schemas.models import ModelRef
from shared_schemas.service.observers import combined
from shared_schemas.stream.batches import Batches
from shared_schemas.stream.change_log import ChangeLog
from shared_schemas.stream.connection import AsyncRedis, connect, connect_one
from shared_schemas.stream.control import JobControl
from shared_schemas.stream.dead_letters import DeadLetters
from shared_schemas.stream.jobs import Jobs
from shared_schemas.stream.nodes import Nodes
from shared_schemas.stream.pubsub import PubSubConnection
from shared_schemas.stream.queue_queries import QueueQueries
from shared_schemas.stream.queues import Queues
from shared_schemas.stream.registry import ModelRegistry
from shared_schemas.stream.removal import Removal
from shared_schemas.stream.submission import Stored, Submission, Submitter
from shared_schemas.stream.timeline import Timeline

from gateway.feed.hub import Hub
from gateway.infer_statistics import InferStatistics
from gateway.instrument import GatewayObserver
from gateway.intake.admission import Admission
from gateway.intake.batch_upload import BatchUploads
from gateway.intake.coalescing import Coalescer
from gateway.intake.files import Files
from gateway.intake.known_models import KnownModels
from gateway.intake.recipes import Recipes
from gateway.intake.signatures import Signatures
from gateway.intake.submission import Submissions
from gateway.intake.submit_and_follow import SubmitAndFollow
from gateway.log_lines import GatewayLog
from gateway.metrics import GatewayMetrics
from gateway.services import Services
from gateway.settings import GatewaySettings
from gateway.switching import Switching


class Parts(msgspec.Struct, frozen=True, kw_only=True):
    """coalescers: by the names of the duties that run them. connections: to close at the end."""

    services: Services
    coalescers: Mapping[str, Coalescer[Any, Any]]
    connections: Sequence[AsyncRedis]

    async def close(self) -> None:
        for client in self.connections:
            await client.aclose()


def build(settings: GatewaySettings) -> Parts:
    """Connects nothing: the first command does."""
    observer = combined(GatewayObserver, GatewayMetrics(), GatewayLog(lines_per_s=settings.log_lines_per_s))
    client = connect(settings)
    # The two most frequent calls have a connection each, and keep it.
    for_submissions, for_pins = connect_one(settings), connect_one(settings)
    nodes, limits = Nodes(client), settings.limits()
    jobs, timeline, registry = Jobs(nodes), Timeline(nodes), ModelRegistry(nodes)
    catalog = Queues(nodes, always=map(QueueName, settings.queues), known_s=settings.queue_known_s)
    queue_queries = QueueQueries(nodes, catalog)
    hub = Hub(lambda: PubSubConnection(client), observer, n_readings=settings.redis_connections // 2)
    joined_pins: Coalescer[str, ModelRef] = Coalescer(ModelRegistry(Nodes(for_pins)).pin)
    joined_submissions: Coalescer[Submission, Stored] = Coalescer(
        Submitter(Nodes(for_submissions), limits=limits).submit_many, count=observer.submissions_sent
    )
    recipes, files = Recipes(queue_queries), Files(settings)
    admission = Admission(
        queues=catalog,
        jobs=jobs,
        pins=joined_pins,
        signatures=Signatures(registry.resolve, observer),
        recipes=recipes,
        files=files,
    )
    submissions = Submissions(
        admission=admission, coalescer=joined_submissions, submitter=Submitter(nodes, limits=limits), jobs=jobs
    )
    batches, control = Batches(nodes), JobControl(nodes)
    services = Services(
        settings=settings,
        observer=observer,
        client=client,
        nodes=nodes,
        jobs=jobs,
        control=control,
        catalog=catalog,
        queue_queries=queue_queries,
        dead_letters=DeadLetters(nodes),
        timeline=timeline,
        change_log=ChangeLog(nodes),
        registry=registry,
        removal=Removal(nodes),
        switching=Switching(registry, queue_queries.workers, observer, timeout_s=settings.switch_timeout_s),
        recipes=recipes,
        files=files,
        submissions=submissions,
        batches=batches,
        batch_uploads=BatchUploads(
            batches=batches,
            admission=admission,
            submitter=Submitter(nodes, limits=limits),
            control=control,
            settings=settings,
        ),
        submit_and_follow=SubmitAndFollow(
            submissions=submissions, jobs=jobs, timeline=timeline, hub=hub, settings=settings, observer=observer
        ),
        hub=hub,
        known_models=KnownModels(registry.resolve),
        infer_statistics=InferStatistics(),
    )
    return Parts(
        services=services,
        coalescers={"submissions": joined_submissions, "pins": joined_pins},
        connections=(client, for_submissions, for_pins),
    )
