"""Ways to break a correct history. FORGERIES lists each under the invariant that it breaks."""

import json
from collections.abc import Callable

import msgspec

from tests.chaos.forged import AGAIN, FLAKY, LOST, PLAIN, SHA, T0_MS, TRAINED, Forged, nonce_of
from tests.chaos.history import Answered, Attempted, Ended, Invoked, Orphaned, Received, Sampled, Wrote


def _of(job: str) -> Callable[[object], bool]:
    return lambda entry: getattr(entry, "job", None) == job


def lose_an_accepted_job(h: Forged) -> None:
    del h.dump.jobs[PLAIN]
    h.dump.listings["succeeded:normal"] = (FLAKY, LOST, AGAIN, TRAINED)


def lose_a_retry(h: Forged) -> None:
    del h.dump.jobs[AGAIN]
    h.dump.listings["succeeded:normal"] = (PLAIN, FLAKY, LOST, TRAINED)


def leave_a_job_running(h: Forged) -> None:
    h.set_events(PLAIN, h.events(PLAIN)[:-1])
    h.dump.jobs[PLAIN].fields.update(state="running", n="4")


def end_twice(h: Forged) -> None:
    h.append_event(PLAIN, event="done", state="succeeded", reason="succeeded")


def write_after_the_end(h: Forged) -> None:
    h.append_event(PLAIN, event="log", line="late")


def end_differently_in_the_hash(h: Forged) -> None:
    h.dump.jobs[PLAIN].fields["state"] = "failed"


def change_an_end_that_was_told(h: Forged) -> None:
    h.replace(Answered, lambda entry: entry.op == 101, state="failed")


def reopen_an_end_that_was_told(h: Forged) -> None:
    h.entries += [
        Invoked(op=900, verb="status", nonce=nonce_of(PLAIN), job=PLAIN, at=900.0),
        Answered(op=900, outcome="ok", state="running", at=901.0),
    ]


def change_a_result(h: Forged) -> None:
    h.dump.jobs[PLAIN].fields["result"] = h.dump.jobs[PLAIN].fields["result"].replace("}", ',"more":1}')


def make_a_forbidden_move(h: Forged) -> None:
    h.rewrite(FLAKY, 5, reason="resumed")


def write_of_an_older_attempt(h: Forged) -> None:
    h.rewrite(LOST, 6, chunk=f"{nonce_of(LOST)} attempt=1 part=late")


def result_of_an_older_attempt(h: Forged) -> None:
    old = json.dumps({"nonce": nonce_of(LOST), "attempt": 1, "fence": "1-0123456789abcdef"})
    h.dump.jobs[LOST].fields.update(result=old)
    h.rewrite(LOST, 7, result=json.loads(old))


def result_under_another_fence(h: Forged) -> None:
    h.dump.jobs[LOST].fields["settled"] = "2-ffffffffffffffff"


def stamp_an_older_attempt(h: Forged) -> None:
    h.rewrite(LOST, 6, attempt=1)


def begin_an_attempt_twice(h: Forged) -> None:
    h.entries.append(Attempted(worker="w9", job=PLAIN, attempt=1, fence="1-ffffffffffffffff", what="begin", at=999.0))


def run_an_unknown_attempt(h: Forged) -> None:
    h.entries.append(Attempted(worker="w9", job=PLAIN, attempt=7, fence="7-ffffffffffffffff", what="begin", at=999.0))


def leave_an_entry_pending(h: Forged) -> None:
    h.dump.streams["inference:normal"] = (1, 1)


def leave_an_entry_ready(h: Forged) -> None:
    h.dump.streams["inference:normal"] = (1, 0)


def leave_a_lease(h: Forged) -> None:
    h.dump.sets["leases"] = (PLAIN,)


def list_a_job_twice(h: Forged) -> None:
    h.dump.listings["running:normal"] = (PLAIN,)


def list_a_job_nowhere(h: Forged) -> None:
    h.dump.listings["succeeded:normal"] = (FLAKY, LOST, AGAIN, TRAINED)


def list_what_does_not_exist(h: Forged) -> None:
    h.dump.listings["queued:front"] = ("inference-01kaaaaaaaaaaaaaaaaaaaaaa9",)


def leave_a_number_out(h: Forged) -> None:
    events = h.events(PLAIN)
    h.set_events(PLAIN, events[:2] + events[3:])


def skip_an_event(h: Forged) -> None:
    h.entries = [e for e in h.entries if not (isinstance(e, Received) and e.job == PLAIN and e.n == 3)]


def repeat_an_event(h: Forged) -> None:
    i = next(i for i, e in enumerate(h.entries) if isinstance(e, Received) and e.job == PLAIN and e.n == 3)
    h.entries.append(msgspec.structs.replace(h.entries[i], at=h.entries[i].at + 0.5))


def receive_another_event(h: Forged) -> None:
    h.replace(Received, lambda e: e.job == PLAIN and e.n == 3, sha="0" * 16)


def end_a_stream_before_done(h: Forged) -> None:
    h.entries = [e for e in h.entries if not (isinstance(e, Received) and e.job == PLAIN and e.n == 5)]


def receive_after_done(h: Forged) -> None:
    h.entries.append(Received(follower="f1", job=PLAIN, n=6, event="log", at=999.0))


def tell_of_a_gap_that_is_none(h: Forged) -> None:
    h.replace(Received, lambda e: e.job == PLAIN and e.n == 3, event="gap", n=4, sha="")


def try_too_often(h: Forged) -> None:
    h.dump.jobs[FLAKY].fields["spec"] = (
        h.dump.jobs[FLAKY].fields["spec"].replace('"max_attempts":3', '"max_attempts":1')
    )


def lose_too_many_workers(h: Forged) -> None:
    for n in (2, 3, 5, 6):
        h.rewrite(LOST, n, event="state", state="queued", reason="worker_lost")


def begin_without_an_end_before(h: Forged) -> None:
    h.rewrite(LOST, 4, reason="due")


def make_two_jobs_for_one_key(h: Forged) -> None:
    h.entries += [
        Invoked(op=900, verb="submit", nonce=nonce_of(PLAIN), key=f"key-{nonce_of(PLAIN)}", at=900.0),
        Answered(op=900, outcome="ok", job=FLAKY, state="queued", at=901.0),
    ]


def make_two_jobs_of_one_submission(h: Forged) -> None:
    copy = "inference-01kaaaaaaaaaaaaaaaaaaaaaa9"
    h.dump.jobs[copy] = h.dump.jobs[PLAIN]
    h.dump.listings["succeeded:normal"] += (copy,)


def retry_twice(h: Forged) -> None:
    copy = "inference-01kaaaaaaaaaaaaaaaaaaaaaa9"
    h.dump.jobs[copy] = h.dump.jobs[AGAIN]
    h.dump.listings["succeeded:normal"] += (copy,)


def mix_up_an_answer(h: Forged) -> None:
    h.replace(Answered, lambda entry: entry.op == 101, nonces=(nonce_of(FLAKY),))


def answer_with_anothers_job(h: Forged) -> None:
    h.replace(Answered, lambda entry: entry.op == 1, job=FLAKY)


def put_anothers_nonce_into_an_event(h: Forged) -> None:
    h.rewrite(PLAIN, 3, chunk=f"{nonce_of(FLAKY)} attempt=1 part=one")


def receive_anothers_event(h: Forged) -> None:
    h.replace(Received, lambda e: e.job == PLAIN and e.n == 3, nonces=(nonce_of(FLAKY),))


def run_anothers_input(h: Forged) -> None:
    h.replace(Attempted, _of(PLAIN), nonce=nonce_of(FLAKY))


def make_a_job_that_nobody_asked_for(h: Forged) -> None:
    h.entries = [e for e in h.entries if not (isinstance(e, Invoked) and e.nonce == nonce_of(PLAIN))]


def _sampled(h: Forged, **changes: object) -> None:
    h.replace(Sampled, lambda entry: not entry.base, **changes)


def leak_descriptors(h: Forged) -> None:
    _sampled(h, fds=400)


def leak_threads(h: Forged) -> None:
    _sampled(h, threads=100)


def leak_memory(h: Forged) -> None:
    _sampled(h, rss_mib=500.0)


def lose_an_artifact(h: Forged) -> None:
    h.dump.artifacts.clear()


def damage_an_artifact(h: Forged) -> None:
    h.dump.artifacts[SHA] = "cd" * 32


def leave_a_child(h: Forged) -> None:
    h.entries.append(Orphaned(command="python -m training_worker.child", pid=7, at=999.0))


def storm_the_log(h: Forged) -> None:
    wall = T0_MS / 1000
    h.entries += [Wrote(process="worker-0", line="claiming_interrupted", count=9, wall=wall + i) for i in range(9)]


def spin_at_rest(h: Forged) -> None:
    _sampled(h, cpu=0.97)


def end_unasked(h: Forged) -> None:
    h.entries.append(Ended(process="gateway-0", status=1, at=999.0))


FORGERIES = {
    "I1": [lose_an_accepted_job, lose_a_retry, leave_a_job_running],
    "I2": [
        end_twice,
        write_after_the_end,
        end_differently_in_the_hash,
        change_an_end_that_was_told,
        reopen_an_end_that_was_told,
        change_a_result,
        make_a_forbidden_move,
    ],
    "I3": [
        write_of_an_older_attempt,
        result_of_an_older_attempt,
        result_under_another_fence,
        stamp_an_older_attempt,
        begin_an_attempt_twice,
        run_an_unknown_attempt,
    ],
    "I4": [
        leave_an_entry_pending,
        leave_an_entry_ready,
        leave_a_lease,
        list_a_job_twice,
        list_a_job_nowhere,
        list_what_does_not_exist,
    ],
    "I5": [
        leave_a_number_out,
        skip_an_event,
        repeat_an_event,
        receive_another_event,
        end_a_stream_before_done,
        receive_after_done,
        tell_of_a_gap_that_is_none,
    ],
    "I6": [try_too_often, lose_too_many_workers, begin_without_an_end_before],
    "I7": [make_two_jobs_for_one_key, make_two_jobs_of_one_submission, retry_twice],
    "I8": [
        mix_up_an_answer,
        answer_with_anothers_job,
        put_anothers_nonce_into_an_event,
        receive_anothers_event,
        run_anothers_input,
        make_a_job_that_nobody_asked_for,
    ],
    "I9": [leak_descriptors, leak_threads, leak_memory],
    "I10": [lose_an_artifact, damage_an_artifact],
    "I11": [leave_a_child],
    "I12": [storm_the_log, spin_at_rest, end_unasked],
}
