"""The routes of batches, one row each. Holds no logic."""

from shared_schemas.batches import Batch, BatchList, BatchResult

from gateway.routes import batches
from gateway.routes.route import Answer, Header, Route

_TAG = "batches"
_BATCH_KEY = Header(
    "Idempotency-Key",
    "The same key with the same lines gives the same batch for a day, and completes one whose lines "
    "did not all arrive.",
    pattern=r"^[\x21-\x7E]{1,255}\Z",
)
_LINES = {200: Answer("JSON lines.", BatchResult, is_lines=True)}

BATCH_ROUTES = (
    Route(
        method="POST",
        path="/batches",
        handler=batches.submit_batch,
        tag=_TAG,
        query=batches.BatchQuery,
        takes_file=True,
        headers=(_BATCH_KEY,),
        answers={202: Answer("All lines have arrived.", Batch)},
        problems=(400, 408, 409, 413, 415, 422, 429, 503),
    ),
    Route(
        method="GET",
        path="/batches",
        handler=batches.list_batches,
        tag=_TAG,
        query=batches.BatchQuery,
        answers={200: Answer("Done.", BatchList)},
        problems=(422, 503),
    ),
    Route(
        method="GET",
        path="/batches/{batch_id}",
        handler=batches.get_batch,
        tag=_TAG,
        answers={200: Answer("Done.", Batch)},
        problems=(404, 503),
    ),
    Route(
        method="GET",
        path="/batches/{batch_id}/output",
        handler=batches.get_output,
        tag=_TAG,
        query=batches.OutputQuery,
        answers=_LINES,
        problems=(404, 422, 503),
    ),
    Route(
        method="GET",
        path="/batches/{batch_id}/errors",
        handler=batches.get_errors,
        tag=_TAG,
        query=batches.OutputQuery,
        answers=_LINES,
        problems=(404, 422, 503),
    ),
    Route(
        method="POST",
        path="/batches/{batch_id}/cancel",
        handler=batches.cancel_batch,
        tag=_TAG,
        answers={202: Answer("Its jobs are cancelled or asked to end.", Batch)},
        problems=(404, 409, 503),
    ),
)
