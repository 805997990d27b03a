"""The checker accepts a correct history, and rejects each broken one for the rule that it breaks."""

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.chaos.checker import INVARIANTS, check
from tests.chaos.forged import AGAIN, CALLED_OFF, FLAKY, LOST, PLAIN, T0_MS, TRAINED, Forged, good, nonce_of
from tests.chaos.forgeries import FORGERIES, write_of_an_older_attempt
from tests.chaos.history import Answered, Faulted, Followed, History, Invoked, Orphaned, Received, Wrote, read, write

_CASES = [(invariant, forgery) for invariant, forgeries in FORGERIES.items() for forgery in forgeries]


def test_a_history_in_which_nothing_went_wrong_passes() -> None:
    h = good()
    assert check(h.entries, h.dump) == []


def test_every_invariant_has_a_history_that_breaks_it() -> None:
    assert set(FORGERIES) == set(INVARIANTS)


@pytest.mark.parametrize(("invariant", "forgery"), _CASES, ids=lambda value: getattr(value, "__name__", value))
def test_a_bad_history_is_rejected_for_the_rule_that_it_breaks(
    invariant: str, forgery: Callable[[Forged], None]
) -> None:
    h = good()
    forgery(h)
    found = {violation.invariant for violation in check(h.entries, h.dump)}
    assert invariant in found


def test_the_story_of_a_violation_has_its_job_and_the_faults_around_it_only() -> None:
    h = good()
    write_of_an_older_attempt(h)
    h.entries.append(Faulted(kind="redis killed", wall=T0_MS / 1000 + 10_000, at=999.0))
    violation = next(v for v in check(h.entries, h.dump) if v.invariant == "I3")
    text = str(violation)
    assert INVARIANTS["I3"] in text
    assert "attempt 1 wrote event 6 when attempt 2 was on" in text
    assert "FAULT worker killed" in text
    assert "redis killed" not in text
    assert "timeline: state worker_lost" in text
    seconds = [float(line.split(" s  ")[0]) for line in violation.story]
    assert seconds == sorted(seconds)
    assert len(violation.story) < 30


def test_a_job_cancelled_before_it_began_breaks_nothing() -> None:
    h = good()
    assert h.dump.jobs[CALLED_OFF].fields["attempt"] == "0"
    assert not [v for v in check(h.entries, h.dump) if v.job == CALLED_OFF]


def test_a_submission_without_an_answer_may_or_may_not_have_made_a_job() -> None:
    h = good()
    h.entries = [e for e in h.entries if not (isinstance(e, Answered) and e.op == 1)]
    assert check(h.entries, h.dump) == []
    h.entries.append(Invoked(op=900, verb="submit", nonce="nonce-ffffffffffff", key="key", at=900.0))
    assert check(h.entries, h.dump) == []


def test_a_follower_that_gave_up_breaks_nothing() -> None:
    h = good()
    unread = [e for e in h.entries if isinstance(e, Received | Followed) and e.job == PLAIN][2:]
    h.entries = [entry for entry in h.entries if entry not in unread]
    assert check(h.entries, h.dump) == []


def test_an_answer_that_was_overtaken_is_not_a_change_after_the_end() -> None:
    h = good()
    h.entries += [
        Invoked(op=900, verb="status", nonce=nonce_of(PLAIN), job=PLAIN, at=10.5),
        Answered(op=900, outcome="ok", state="running", at=900.0),
    ]
    assert check(h.entries, h.dump) == []


def test_a_log_may_say_more_after_more_faults() -> None:
    h, wall = good(), T0_MS / 1000
    h.entries = [entry for entry in h.entries if not isinstance(entry, Faulted)]
    h.entries += [Wrote(process="worker-0", line="renewal_failed", count=8, wall=wall + i) for i in range(3)]
    assert {violation.invariant for violation in check(h.entries, h.dump)} == {"I12"}
    h.entries += [Faulted(kind="redis killed", wall=wall - 1), Faulted(kind="redis killed", wall=wall)]
    assert check(h.entries, h.dump) == []


JOBS = st.sampled_from([PLAIN, FLAKY, LOST, CALLED_OFF, AGAIN, TRAINED])


@given(job=JOBS, data=st.data())
def test_a_timeline_with_one_event_missing_repeated_or_moved_is_rejected(job: str, data: st.DataObject) -> None:
    h = good()
    events = h.events(job)
    i = data.draw(st.integers(0, len(events) - 1))
    match data.draw(st.sampled_from(["drop", "repeat", "swap"])):
        case "drop":
            del events[i]
        case "repeat":
            events.insert(i, events[i])
        case "swap":
            j = (i + 1) % len(events)
            events[i], events[j] = events[j], events[i]
    h.set_events(job, events)
    assert "I5" in {violation.invariant for violation in check(h.entries, h.dump) if violation.job == job}


@given(job=JOBS, data=st.data())
def test_a_received_stream_with_one_event_missing_repeated_or_moved_is_rejected(job: str, data: st.DataObject) -> None:
    h = good()
    mine = [i for i, entry in enumerate(h.entries) if isinstance(entry, Received) and entry.job == job]
    i = data.draw(st.sampled_from(mine))
    match data.draw(st.sampled_from(["drop", "repeat", "swap"])):
        case "drop":
            del h.entries[i]
        case "repeat":
            h.entries.append(msgspec.structs.replace(h.entries[i], at=h.entries[i].at + 0.5))
        case "swap":
            j = mine[(mine.index(i) + 1) % len(mine)]
            a, b = h.entries[i], h.entries[j]
            h.entries[i] = msgspec.structs.replace(a, at=b.at)
            h.entries[j] = msgspec.structs.replace(b, at=a.at)
    assert "I5" in {violation.invariant for violation in check(h.entries, h.dump) if violation.job == job}


@given(
    job=JOBS,
    field=st.sampled_from(["state", "attempt", "failures", "crashes", "n", "result", "lane", "created"]),
    value=st.sampled_from(["0", "7", "running", "failed", "cancelled", '{"a":1}', "high"]),
)
def test_a_hash_with_one_field_changed_is_rejected(job: str, field: str, value: str) -> None:
    h = good()
    fields = h.dump.jobs[job].fields
    if fields.get(field) == value or (field == "state") != value.isalpha() or (field == "result") != ("{" in value):
        return
    fields[field] = value
    assert {violation.job for violation in check(h.entries, h.dump)} == {job}


def test_a_history_survives_its_writers_and_is_read_back_in_whole(tmp_path: Path) -> None:
    one, other = History(tmp_path / "history"), History(tmp_path / "history")
    one.append(Faulted(kind="a"))
    other.append(Orphaned(command="b", pid=1))
    one.append(Followed(follower="f", job=PLAIN))
    assert [type(entry) for entry in read(tmp_path / "history")] == [Faulted, Orphaned, Followed]
    one.clear()
    other.append(Faulted(kind="c"))
    assert [entry.kind for entry in read(tmp_path / "history")] == ["c"]  # type: ignore[union-attr]
    write(tmp_path / "copy", good().entries)
    assert read(tmp_path / "copy") == good().entries
