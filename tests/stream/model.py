"""What every script of a queue must answer and leave behind, in plain Python.

Time is the seconds that Redis' clock was stepped by, and a little for each call. What truly passes decides nothing:
all spans of a test differ from each other by far more. The model reads neither Redis nor a clock.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from shared_schemas.events import Reason
from shared_schemas.ids import JobId
from shared_schemas.job import JobState
from shared_schemas.lifecycle import TRANSITIONS
from shared_schemas.stream.keys import Lane
from shared_schemas.stream.recovery import CRASH_LIMIT

from tests.stream.model_jobs import JobBook, ModelJob
from tests.stream.model_lanes import SHARED, Entry

REASONS = {
    "success": Reason.SUCCEEDED,
    "failure": Reason.FAILED,
    "retry": Reason.RETRY,
    "retry_later": Reason.RETRY,
    "release": Reason.RELEASED,
    "cancellation": Reason.CANCELLED,
}
Answer = tuple[JobId, str, str, int, int, bool, bool, bool]


@dataclass
class ClaimCall:
    """One call of claim. begun: the attempts of its answer so far. slots: a suspect takes them all. held: None if the
    worker does not pass it. unsure: the answer depends on `held`, which is None."""

    worker: str
    slots: int
    capacity: int
    token: str
    held: Mapping[JobId, str] | None
    runs: Mapping[JobId, str]
    begun: list[Answer] = field(default_factory=list)
    unsure: bool = False

    @property
    def is_busy(self) -> bool:
        return bool(self.begun or self.runs)


class QueueModel(JobBook):
    """One method for each script: it answers as the script must and changes the book as the script must."""

    # The gateway's scripts.

    def submit(
        self,
        job: ModelJob,
        *,
        run_at: float | None = None,
        deadline_after: float | None = None,
        key: str | None = None,
        fingerprint: str = "",
        retry_of: JobId | None = None,
    ) -> tuple[str, JobId]:
        if key in self.keys:
            known, meant = self.keys[key]
            return ("exists" if meant == fingerprint else "conflict"), known
        if job.id in self.jobs:
            return "exists", job.id
        failed = self.jobs.get(retry_of) if retry_of else None
        if failed is not None and failed.retried_as is not None:
            return "retried", failed.retried_as
        self.jobs[job.id] = job
        if key is not None:
            self.keys[key] = (job.id, fingerprint)
        if failed is not None:
            failed.retried_as = job.id
            self.dead.discard(failed.id)
        if deadline_after is not None:
            job.deadline = self.deadlines[job.id] = self.now + deadline_after
        if job.depends_on:
            job.waiting = True
            self.waiting.add(job.id)
        due = run_at if run_at is not None and run_at > self.now else None
        if due is not None or job.waiting:
            self.schedule(job, due, Reason.SCHEDULED)
        else:
            self.enqueue(job, job.home, Reason.SUBMITTED)
        return "created", job.id

    def cancel(self, job: ModelJob, error: str | None = None) -> JobState | None:
        """None: refused, as every verb below."""
        if job.allows(Reason.CANCEL_REQUESTED):
            if not job.cancel:
                self.append_change(job, Reason.CANCEL_REQUESTED)
                job.cancel = True
        elif job.allows(Reason.CANCELLED):
            self.finish(job, Reason.CANCELLED, error)
        return job.state if job.state in (JobState.RUNNING, JobState.CANCELLED) else None

    def pause(self, job: ModelJob) -> JobState | None:
        if job.state is JobState.RUNNING:
            if job.cancel:
                return None
            if not job.pause:
                self.append_change(job, Reason.PAUSE_REQUESTED)
                job.pause = True
        elif job.allows(Reason.PAUSED):
            self.pause_job(job)
        return job.state if job.state in (JobState.RUNNING, JobState.PAUSED) else None

    def resume(self, job: ModelJob) -> JobState | None:
        if job.state is JobState.RUNNING and job.pause:
            self.append_change(job, Reason.PAUSE_WITHDRAWN)
            job.pause = False
        elif job.state in (JobState.QUEUED, JobState.SCHEDULED, JobState.RUNNING):
            return job.state
        elif not job.allows(Reason.RESUMED):
            return None
        else:
            if job.deadline is not None and job.attempt == 0:
                self.deadlines[job.id] = job.deadline
            due = job.due if job.due is not None and job.due > self.now else None
            if due is not None or job.waiting:
                self.schedule(job, due, Reason.SCHEDULED)
            else:
                self.enqueue(job, Lane.FRONT if job.attempt else job.home, Reason.RESUMED)
        return job.state

    def purge(self, ids: Iterable[JobId]) -> list[JobId]:
        listed = [job_id for job_id in ids if job_id in self.dead]
        self.dead.difference_update(listed)
        return listed

    def why_kept(self, job: ModelJob) -> str | None:
        """What a deletion of the job is refused for."""
        if job.state is None or not job.state.is_terminal:
            return "open"
        return "in use" if any(job.id in self.jobs[user].depends_on for user in self.waiting) else None

    def delete(self, job: ModelJob) -> str:
        self.dead.discard(job.id)
        self.expiring.pop(job.id, None)
        del self.jobs[job.id]
        return "deleted"

    # The worker's scripts.

    def claim(self, call: ClaimCall, entries: Iterable[Entry]) -> tuple[list[Answer], bool, bool]:
        """-> (attempts, whether a suspect waits for a worker that runs nothing, whether `held` was missing)"""
        for entry in entries:
            self._begin(call, entry)
        while call.slots > 0 and self._wants_idle_worker():
            if call.is_busy:
                return call.begun, True, call.unsure
            self._read(call, Lane.ALONE, 1)
        for lane in SHARED:
            while len(call.begun) < call.slots and self._read(call, lane, call.slots - len(call.begun)):
                pass
        return call.begun, False, call.unsure

    def claim_ahead(self, call: ClaimCall, handed: Sequence[Entry]) -> tuple[list[Answer], bool, bool]:
        """handed: the worker's own pending entries behind those that it names."""
        for entry in handed:
            if entry in self.lanes[entry.lane].entries:
                self._begin(call, entry)
            else:
                self.lanes.retire(entry)
        return call.begun, bool(call.runs) and self._wants_idle_worker(), call.unsure

    def _wants_idle_worker(self) -> bool:
        alone = self.lanes[Lane.ALONE]
        return bool(alone.entries and (not alone.has_group or alone.undelivered))

    def _read(self, call: ClaimCall, name: Lane, limit: int) -> bool:
        lane = self.lanes[name]
        if not lane.entries:
            return False
        if not lane.has_group:
            lane.create_group()
        entries = lane.read(call.worker, limit)
        for entry in entries:
            self._begin(call, entry)
        return bool(entries)

    def _begin(self, call: ClaimCall, entry: Entry) -> None:
        job = self.jobs.get(entry.job_id)
        if job is None or job.entry is not entry:
            self.lanes.retire(entry)
        elif job.state is JobState.RUNNING:
            self._begin_again(call, entry, job)
        elif not job.allows(Reason.CLAIMED):
            self.lanes.retire(entry)
        elif job.attempt == 0 and job.deadline is not None and self.now > job.deadline:
            self.lanes.retire(entry)
            self.finish(job, Reason.FAILED, "start_deadline_exceeded")
        elif len(call.begun) >= call.slots or (job.suspect and call.is_busy):
            self.hand_back(job)
        else:
            call.slots = 1 if job.suspect else call.slots
            job.attempt += 1
            self.append_change(job, Reason.CLAIMED)
            job.fence, job.worker, job.recorded, job.beat = f"{job.attempt}-{call.token}", call.worker, 0, 0
            job.alone = job.suspect or call.capacity == 1
            self.leases[job.id] = self.now + self.lease
            self.deadlines.pop(job.id, None)
            call.begun.append(self._answer(job))

    def _begin_again(self, call: ClaimCall, entry: Entry, job: ModelJob) -> None:
        if job.worker != call.worker or any(answer[0] == job.id for answer in call.begun):
            return
        if call.held is None:
            call.unsure = True
            return
        if call.held.get(job.id) == job.fence:
            return
        if job.beat == 0 and job.recorded == 0:
            call.begun.append(self._answer(job))
            return
        self.lanes.retire(entry)
        pause = self.let_go(job)
        self.enqueue(job, Lane.FRONT, Reason.RELEASED)
        self.apply_requests(job, pause=pause)

    @staticmethod
    def _answer(job: ModelJob) -> Answer:
        assert job.fence is not None
        return job.id, job.lane, job.fence, job.failures, job.crashes, job.cancel, job.pause, job.suspect

    def _holder(self, job_id: JobId, fence: str) -> ModelJob | None:
        job = self.jobs.get(job_id)
        return job if job is not None and job.fence == fence else None

    def record(self, job_id: JobId, fence: str, first: int, events: Sequence[str]) -> bool:
        job = self._holder(job_id, fence)
        if job is None:
            return False
        self._append_new(job, first, events)
        job.recorded = max(job.recorded, first + len(events))
        return True

    @staticmethod
    def _append_new(job: ModelJob, first: int, events: Sequence[str]) -> None:
        for i, sort in enumerate(events):
            if first + i >= job.recorded:
                job.timeline.append((sort, job.attempt))

    def settle(
        self, job_id: JobId, fence: str, outcome: str, *, first: int, events: Sequence[str], delay: float, error: str
    ) -> bool:
        known = self.jobs.get(job_id)
        if known is not None and known.settled == fence:
            return True
        job = self._holder(job_id, fence)
        if job is None:
            return False
        self._append_new(job, first, events)
        self.lanes.retire(job.entry)
        pause = self.let_go(job)
        job.settled, reason = fence, REASONS[outcome]
        if TRANSITIONS[reason].target.is_terminal:
            self.finish(job, reason, error if reason is Reason.FAILED else None)
            return True
        if reason is Reason.RETRY:
            job.failures, job.error = job.failures + 1, error
            self.schedule(job, self.now + delay, reason)
        else:
            self.enqueue(job, Lane.FRONT, reason)
        self.apply_requests(job, pause=pause)
        return True

    def renew(
        self, worker: str, fences: Mapping[JobId, str], *, registers: bool
    ) -> dict[JobId, tuple[bool, bool, bool]]:
        self.workers = {name: end for name, end in self.workers.items() if end > self.now}
        answers = {}
        for job_id, fence in fences.items():
            job = self._holder(job_id, fence)
            if job is None:
                answers[job_id] = (False, False, False)
                continue
            job.beat += 1
            self.leases[job_id] = self.now + self.lease
            if job.entry in (pending := self.lanes[job.lane].alive()) and pending:
                self.lanes[job.lane].pending[job.entry] = worker
            answers[job_id] = (True, job.cancel, job.pause)
        if registers:
            self.workers[worker] = self.registrations[worker] = self.now + 2 * self.lease
        return answers

    def leave(self, worker: str) -> None:
        self.workers.pop(worker, None)
        self.registrations.pop(worker, None)

    # Housekeeping.

    def silent_jobs(self) -> list[tuple[JobId, str, int]]:
        found = []
        for job_id, end in self.leases.items():
            job = self.jobs[job_id]
            if end <= self.now + self.lease / 2:
                found.append((job_id, job.fence or "", job.beat))
        return found

    def reclaim(self, job_id: JobId, fence: str, beat: int) -> str:
        job = self._holder(job_id, fence)
        if job is None or job.beat != beat:
            return "alive"
        self.lanes.retire(job.entry)
        pause = self.let_go(job)
        job.crashes += 1
        is_limit = job.crashes >= CRASH_LIMIT
        job.suspect = job.suspect or (is_limit and not job.alone)
        self.enqueue(job, Lane.FRONT, Reason.WORKER_LOST)
        if is_limit and job.alone and not job.cancel:
            self.finish(job, Reason.FAILED, "poison")
            return "poison"
        self.apply_requests(job, pause=pause)
        return "requeued"

    def promote(self) -> tuple[int, int]:
        """-> (promoted, expired)"""
        promoted, expired = 0, 0
        for job in self._past(self.due):
            if not job.waiting and job.allows(Reason.DUE):
                self.enqueue(job, job.home, Reason.DUE)
                promoted += 1
        for job in self._past(self.deadlines):
            if job.attempt == 0 and job.state is not JobState.PAUSED and job.allows(Reason.FAILED):
                self.finish(job, Reason.FAILED, "start_deadline_exceeded")
                expired += 1
        return promoted + self._look_at_dependencies(), expired

    def _past(self, times: dict[JobId, float]) -> list[ModelJob]:
        past = [job_id for job_id, at in sorted(times.items(), key=lambda item: (item[1], item[0])) if at <= self.now]
        for job_id in past:
            del times[job_id]
        return [self.jobs[job_id] for job_id in past]

    def _look_at_dependencies(self) -> int:
        """All states are read before the first job is changed, as Housekeeping does."""
        met, lost = [], []
        for job_id in sorted(self.waiting):
            parents = [self.jobs.get(parent) for parent in self.jobs[job_id].depends_on]
            if all(parent is not None and parent.state is JobState.SUCCEEDED for parent in parents):
                met.append(self.jobs[job_id])
            elif any(p is None or p.state in (JobState.FAILED, JobState.CANCELLED) for p in parents):
                lost.append(self.jobs[job_id])
        for job in lost:
            self.cancel(job, "dependency_failed")
        ready = 0
        for job in met:
            self.waiting.discard(job.id)
            job.waiting = False
            if job.due is not None and job.due > self.now:
                if job.state is JobState.SCHEDULED:
                    self.due[job.id] = job.due
            elif job.allows(Reason.DUE):
                self.enqueue(job, job.home, Reason.DUE)
                ready += 1
        return ready

    def redeliver(self, worker: str) -> int:
        again = 0
        for lane in self.lanes.by_name.values():
            claimed = list(lane.alive())
            for entry in claimed:
                lane.pending[entry] = worker
        for entry in [entry for lane in self.lanes.by_name.values() for entry in lane.alive()]:
            job = self.jobs.get(entry.job_id)
            if job is None or job.entry is not entry:
                self.lanes.retire(entry)
            elif job.state is JobState.QUEUED:
                self.hand_back(job)
                again += 1
            elif job.state is not JobState.RUNNING:
                self.lanes.retire(entry)
        return again

    def repair(self) -> int:
        repaired = 0
        for job in self.jobs.values():
            if job.state is JobState.QUEUED and not (job.entry and self.lanes.is_live(job.entry)):
                job.entry = self.lanes.add(job.lane, job.id)
                repaired += 1
            if job.state is JobState.RUNNING and job.id not in self.leases:
                self.leases[job.id] = self.now
                repaired += 1
            elif job.state is JobState.RUNNING and self.leases[job.id] > self.now + self.lease:
                self.leases[job.id] = self.now + self.lease
                repaired += 1
        return repaired

    def sweep(self) -> int:
        past = self._past(self.expiring)
        for job in past:
            self.dead.discard(job.id)
            self.gone.add(job.id)
            del self.jobs[job.id]
        return len(past)
