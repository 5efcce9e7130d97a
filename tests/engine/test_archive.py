"""The archive: after it everything reads as before, nothing is lost on the way, and nothing else leaves the journal."""

import contextlib
import io
import itertools
import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from datetime import UTC, date, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from engine.archive import LEAST_DAYS, Archiver, ArchiveRun, check_age
from engine.as_decided import as_decided
from engine.as_of import lot_as_of
from engine.audit import INCLUSION, Audits, verify_archive
from engine.backtesting import backtest
from engine.business import Business
from engine.checkpoint_verification import verify_checkpoints
from engine.checkpoints import Signer, read_public, signer_of
from engine.clock import instant
from engine.errors import ArchiveUnavailable, EventInvalid, HistoryArchived, NotFound
from engine.events import Reason
from engine.family import pass_holds_on
from engine.feed import START, Feed
from engine.history import decisions
from engine.holds import lines_of
from engine.installation_checkpoints import InstallationCheckpoints
from engine.journal import fold, verify
from engine.ledger import Ledger
from engine.recalls import Recalls, Selection, carry_out
from engine.rulesets import RuleSets
from engine.segment_proof import verify_segment
from engine.segments import SegmentInvalid, path_of
from engine.settings import SHIPPED_RULES, Settings
from engine.store.opening import Store
from engine.store.reading import Reading
from engine.subscriptions import Subscriptions
from engine.tracing import Genealogy
from engine.track_record import count as count_track
from tests.engine.journal_sample import story

DAY = 86_400.0


@pytest.fixture(scope="session")
def signer(tmp_path_factory: pytest.TempPathFactory) -> Signer:
    return signer_of(Settings(home=tmp_path_factory.mktemp("key")))


@pytest.fixture
def sets(store: Store, clock: Any) -> RuleSets:
    kept = RuleSets(store, clock)
    kept.ensure_first(SHIPPED_RULES)
    return kept


@pytest.fixture
def archiver(store: Store, clock: Any, signer: Signer, sets: RuleSets) -> Archiver:
    return Archiver(store, clock, signer)


def ship(plant: Any, lot: str) -> None:
    plant.released(lot)
    plant.agree()
    assert plant.send("lot.shipped.v1", lot, {"shipment": f"SH-{lot}", "customer": "BOLT-CO", "order": "SO-1"}).outcome == "applied"
    plant.agree()


def settle(plant: Any, clock: Any, days: float = 100) -> None:
    """Time goes by in a plant where everybody has done his work; the last word is about another lot."""
    pass_holds_on(plant.store, plant.pipeline)
    while count_track(plant.store):
        pass
    plant.agree()
    clock.forward(days * DAY)
    plant.receive(f"NEWEST-{clock().isoformat()}")
    plant.agree()


def run(archiver: Archiver, clock: Any, **how: Any) -> ArchiveRun:
    return archiver.run(check_age(clock() - timedelta(days=LEAST_DAYS), clock()), "tester", **how)


def shown(store: Store, clock: Any, sets: RuleSets, signer: Signer, rulebook: Any, lots: list[str]) -> dict[str, Any]:
    """What every reader of history says of ``lots``, and of all."""
    reading, ledger = Reading(store), Ledger(store, clock)
    found: dict[str, Any] = {}
    for lot in lots:
        entries = reading.journal(lot)
        found[lot] = {
            "lot": reading.lot(lot), "journal": entries, "results": reading.results(lot), "holds": reading.holds(lot),
            "pages": [reading.journal(lot, after=n, limit=2) for n in range(len(entries) + 1)],
            "as of": [lot_as_of(reading, lot, e.recorded_at) for e in entries],
            "deliveries": [(d.id, d.version, d.target, d.state, bytes(d.status)) for d in ledger.lines(lot=lot)],
            "told": ledger.acknowledged(lot),
            "trace": Genealogy(store).trace([lot], "forward"),
            "recall": Recalls(store, clock).preview(Selection(lots=[lot])),
        }  # fmt: skip
        for gate in {json.loads(e.evidence).get("gate") for e in entries} & {"release", "ship"}:
            found[lot][f"decided {gate}"] = as_decided(store, sets, UTC, lot, gate, None)
    found["decisions"] = [d for chunk in decisions(store, UTC) for d in chunk]
    found["backtest"] = backtest(store, UTC, rulebook, date(2026, 11, 23))
    found["numbers"] = Business(store, clock).numbers(date(2026, 11, 23))
    found["verify"] = verify(reading.journals())
    return found


def changes(store: Store, piece: int = 200) -> list[Any]:
    feed, place, found = Feed(store), START, []
    while page := feed.after(place, piece):
        found += [change for _, change in page]
        place = page[-1][0]
    return found


def test_what_was_archived_reads_as_before(
    plant: Any, store: Store, clock: Any, archiver: Archiver, sets: RuleSets, signer: Signer, rulebook: Any, count: Any
) -> None:
    story(plant, clock)
    for n in range(5):
        ship(plant, f"L-{n}")
    settle(plant, clock)
    lots = ["S-RELEASED", "S-SPLIT", "S-CHILD", "S-MADE", "S-SHIPPED", "L-0", "L-1", "L-2", "L-3", "L-4"]
    before, feed = shown(store, clock, sets, signer, rulebook, lots), changes(store)
    rows = count("journal")

    dry = run(archiver, clock, dry_run=True)
    assert (dry.lots, count("journal")) == (0, rows), "a dry run writes nothing"
    report = run(archiver, clock)
    assert report.lots == dry.eligible >= 5, report
    assert count("journal") == rows - report.entries, "they have left the journal"
    assert count("deliveries") > 0
    after = shown(store, clock, sets, signer, rulebook, lots)
    for name, value in before.items():
        assert after[name] == value, name
    assert before["verify"].intact
    assert changes(store) == feed
    assert changes(store, 3) == feed, "in small pieces, too"
    assert Feed(store).newest() == Feed(store).after(START, 10_000)[-1][0]
    assert run(archiver, clock).lots == 0, "what is archived is not archived again"


def test_the_evidence_of_an_archived_lot_is_whole(
    plant: Any, store: Store, clock: Any, archiver: Archiver, sets: RuleSets, signer: Signer
) -> None:
    ship(plant, "L-0")
    settle(plant, clock)
    audits = Audits(store, clock, sets, signer)
    before = audits.export("L-0", "tester")
    assert run(archiver, clock).lots == 1
    after = audits.export("L-0", "tester")
    assert after == before
    assert verify_archive(after, signer.public.public_key.encode()).problems == []


def test_a_hold_lands_on_an_archived_lot_and_its_journal_goes_on(
    plant: Any, store: Store, clock: Any, archiver: Archiver
) -> None:
    ship(plant, "L-0")
    settle(plant, clock)
    assert run(archiver, clock).lots == 1
    reading = Reading(store)
    head = reading.lot("L-0")
    answer = plant.hold("L-0", "H-9")
    assert answer.outcome == "applied"
    entries = reading.journal("L-0")
    assert [e.version for e in entries] == list(range(1, len(entries) + 1))
    assert (entries[-1].trigger, entries[-1].prev_hash) == ("hold", head.head)
    assert verify(reading.journals()).intact
    assert run(archiver, clock).lots == 0, "a lot with a hold stays"
    plant.lift("L-0", "H-9")
    settle(plant, clock)
    assert run(archiver, clock).lots >= 1, "later it goes again, behind what went before"
    assert [e.hash for e in reading.journal("L-0")][: len(entries)] == [e.hash for e in entries]
    assert verify(reading.journals()).intact


def test_a_recall_reaches_archived_lots(plant: Any, store: Store, clock: Any, archiver: Archiver) -> None:
    ship(plant, "L-0")
    settle(plant, clock)
    before = Recalls(store, clock).preview(Selection(supplier="ACME"))
    assert run(archiver, clock).lots == 1
    for segment in store.archive.glob("*.zip"):
        segment.unlink()
    recalls = Recalls(store, clock)
    assert recalls.preview(Selection(supplier="ACME")) == before, "a recall reads no file of the archive"
    recalls.open(Selection(supplier="ACME"), Reason(code="CRACK"), "tester", "R-1")
    while carry_out(store, plant.pipeline, clock) or pass_holds_on(store, plant.pipeline):
        pass
    carry_out(store, plant.pipeline, clock)
    assert Reading(store).lot("L-0").recall_open
    assert recalls.get("R-1").state == "open"


def test_an_old_event_gets_its_first_answer(plant: Any, store: Store, clock: Any, archiver: Archiver) -> None:
    event = plant.event("lot.received.v1", "L-0", {"item": "RING-74", "revision": "A", "supplier": "ACME", "receipt": "GR",
                                                   "quantity": {"value": "100", "unit": "ea"}})  # fmt: skip
    first = plant.pipeline.submit(event, "tester").result(20)
    plant.inspect("L-0", *["74.000"] * 5)
    plant.agree()
    plant.send("lot.shipped.v1", "L-0", {"shipment": "S", "customer": "C"})
    settle(plant, clock)
    assert run(archiver, clock).lots == 1
    again = plant.pipeline.submit(event, "tester").result(20)
    assert (again.replayed, again.body) == (True, first.body)


#: Reason -> what is done to a lot L so that it stays.
SPOILERS: dict[str, Callable[[Any, str], Any]] = {
    "open": lambda p, lot: p.send("lot.returned.v1", lot, {"rma": "R", "quantity": {"value": "100", "unit": "ea"}}),
    "held": lambda p, lot: p.hold(lot, "H"),
    "delivery": lambda p, lot: sql(p, f"UPDATE deliveries SET state = 'dead' WHERE lot = '{lot}' AND version = 2"),
    "task": lambda p, lot: sql(p, "INSERT INTO escalations (kind, subject, detail, opened_at)"
                                  f" VALUES ('drift', '{lot}', '', '')"),
    "parked": lambda p, lot: sql(p, "INSERT INTO parked (key, subject, waits_for, event, principal, parked_at, expires_at)"
                                    f" VALUES ('k', '{lot}', 'hold:{lot}|X', '{{}}', 'p', '', 1)"),
    "spreading": lambda p, lot: sql(p, f"INSERT INTO spreading (lot, cause) VALUES ('{lot}', 'c')"),
    "dispute": lambda p, lot: sql(p, "INSERT INTO drift (target, lot, kind, version, expected, observed, since, seen_at)"
                                     f" VALUES ('erp', '{lot}', 'differs', 1, '{{}}', '{{}}', '', '')"),
    "record": lambda p, lot: sql(p, "INSERT INTO quality_records (lot, record, kind, severity, status, content, opened_at)"
                                    f" VALUES ('{lot}', 'NC', 'nonconformance', 'major', 'open', '{{}}', '')"),
    "recall": lambda p, lot: sql(p, f"""UPDATE lots SET snapshot = replace(snapshot, '"state"', '"recall_open":true,"state"')"""
                                    f" WHERE id = '{lot}'"),
}  # fmt: skip


def test_what_is_not_over_stays(plant: Any, store: Store, clock: Any, archiver: Archiver) -> None:
    for why in SPOILERS:
        ship(plant, why)
    ship(plant, "GOES")
    ship(plant, "RECENT")
    settle(plant, clock)
    for why, spoil in SPOILERS.items():
        spoil(plant, why)
    plant.hold("RECENT", "H")
    plant.lift("RECENT", "H")
    sql(plant, "UPDATE deliveries SET state = 'delivered' WHERE lot IN ('RECENT', 'open', 'held') AND state <> 'dead'")
    dry = run(archiver, clock, dry_run=True)
    assert (dry.eligible, dry.lots) == (1, 0)
    for why in SPOILERS:
        assert dry.kept[why] >= 1, (why, dry)
    assert dry.kept["recent"] == 4, "what was done to them lately, and the newest of all"
    report = run(archiver, clock)
    assert (report.lots, report.kept) == (1, dry.kept)
    gone = [lot for lot in (*SPOILERS, "GOES", "RECENT") if not hot(store, lot)]
    assert gone == ["GOES"]


def hot(store: Store, lot: str) -> list[int]:
    """Versions of a lot that the journal itself has."""
    with store.reads.connect() as connection:
        return list(connection.execute(text("SELECT version FROM journal WHERE lot = :lot ORDER BY 1"), {"lot": lot}).scalars())


def test_nothing_goes_past_those_who_have_still_to_read_it(
    plant: Any, store: Store, clock: Any, archiver: Archiver
) -> None:
    subscriptions = Subscriptions(store, clock)
    ship(plant, "L-0")
    line = subscriptions.add("https://example.org/hook", "n", (), "tester")
    ship(plant, "L-1")
    plant.agree()
    settle(plant, clock)
    sql(plant, "UPDATE deliveries SET state = 'pending' WHERE target LIKE 'hook-%' AND version = 3")
    assert run(archiver, clock).kept["delivery"] == 1
    assert (hot(store, "L-0"), bool(hot(store, "L-1"))) == ([], True)
    plant.agree()
    subscriptions.disable(line.id, "away")
    sql(plant, f"UPDATE subscriptions SET disabled_at = '2026-11-23T07:00:00.000000Z' WHERE id = '{line.id}'")
    assert run(archiver, clock).kept["webhook"] >= 1
    sql(plant, "UPDATE subscriptions SET disabled_at = NULL")
    with store.reads.connect() as connection:
        counted = connection.execute(text("SELECT commit_order, position FROM track_position")).one()
    sql(plant, "UPDATE track_position SET commit_order = 0, position = 0")
    assert run(archiver, clock).kept["uncounted"] >= 1
    sql(plant, f"UPDATE track_position SET commit_order = {counted[0]}, position = {counted[1]}")
    assert run(archiver, clock).lots == 1
    entry = subscriptions.entry("L-1", 2)
    assert entry is not None
    assert entry == Reading(store).journal("L-1")[1], "a message that is sent again has its entry"
    with pytest.raises(HistoryArchived, match="are in the archive"):
        subscriptions.recover(line.id, "2026-11-23T00:00:00.000000Z", dry_run=True)
    assert subscriptions.recover(line.id, instant(clock()), dry_run=True) >= 0


def test_a_lot_whose_journal_does_not_hold_is_not_archived(
    plant: Any, store: Store, clock: Any, archiver: Archiver
) -> None:
    ship(plant, "L-0")
    ship(plant, "L-1")
    ship(plant, "L-2")
    settle(plant, clock)
    sql(plant, "UPDATE lots SET snapshot = replace(snapshot, 'ACME', 'OTHER') WHERE id = 'L-1'")
    report = run(archiver, clock)
    assert (report.lots, report.kept["broken"]) == (2, 1)
    assert hot(store, "L-1")


def test_the_age_that_is_asked_for_has_a_least(clock: Any) -> None:
    assert check_age(clock() - timedelta(days=LEAST_DAYS), clock())
    with pytest.raises(EventInvalid, match="31 days"):
        check_age(clock() - timedelta(days=LEAST_DAYS - 1), clock())


def test_the_database_lets_go_only_of_what_the_index_has(
    plant: Any, store: Store, clock: Any, archiver: Archiver
) -> None:
    ship(plant, "L-0")
    ship(plant, "L-1")
    settle(plant, clock)
    run(archiver, clock, limit=1)
    kept = "L-0" if hot(store, "L-0") else "L-1"
    gone = "L-1" if kept == "L-0" else "L-0"
    for refused in (
        f"DELETE FROM journal WHERE lot = '{kept}'",
        f"DELETE FROM journal WHERE lot = '{kept}' AND version = 1",
        f"UPDATE journal SET principal = 'x' WHERE lot = '{kept}'",
        f"DELETE FROM archived_lots WHERE lot = '{gone}'",
        f"UPDATE archived_lots SET last_version = 99 WHERE lot = '{gone}'",
        "UPDATE archive_segments SET name = 'x'",
    ):
        with pytest.raises(DBAPIError):
            sql(plant, refused)
    assert len(hot(store, kept)) == 6


def test_a_segment_can_be_verified_by_whoever_has_only_the_file(
    plant: Any, store: Store, clock: Any, archiver: Archiver, signer: Signer, tmp_path: Path
) -> None:
    ship(plant, "L-0")
    plant.hold("L-0", "H")
    plant.lift("L-0", "H")
    plant.agree()
    settle(plant, clock)
    (name,) = run(archiver, clock).segments
    file, keys = path_of(store.archive, name), keys_of(signer)
    report = verify_segment(file, keys)
    assert (report.problems, report.notes, report.lots, report.name) == ([], [], 1, name)
    assert verify_segment(file).notes == ["no public key was given: whoever sealed it was not looked at"]
    assert "was not signed" in verify_segment(file, keys_of(signer_of(Settings(home=tmp_path / "other")))).problems[0]

    with zipfile.ZipFile(file) as archive:
        parts = {part: archive.read(part) for part in archive.namelist()}
    copy = tmp_path / "copy.zip"
    for part, content in parts.items():
        forged = content.replace(b"ACME", b"ACMF").replace(b'"signature":"', b'"signature":"A')
        for changed in (None, forged if forged != content else content + b" "):
            with zipfile.ZipFile(copy, "w") as archive:
                for other_part, bytes_ in parts.items():
                    if other_part != part:
                        archive.writestr(other_part, bytes_)
                    elif changed is not None:
                        archive.writestr(other_part, changed)
            assert problems_of(copy, keys), f"{part} changed: {changed is not None}"
    damaged = file.read_bytes()
    copy.write_bytes(damaged[: len(damaged) // 2])
    assert problems_of(copy, keys)


def keys_of(signer: Signer) -> dict[str, Ed25519PublicKey]:
    return {signer.public.key_id: read_public(signer.public.public_key.encode())}


def problems_of(file: Path, keys: dict[str, Ed25519PublicKey]) -> list[str]:
    try:
        return verify_segment(file, keys).problems
    except SegmentInvalid as error:
        return [str(error)]


def test_a_file_that_unpacks_to_what_no_segment_is_is_not_unpacked(tmp_path: Path) -> None:
    bomb = tmp_path / "bomb.zip"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(3):
            archive.writestr(f"lots/{number:05}.ndjson", b"\0" * 10_000_000)
    with pytest.raises(SegmentInvalid, match="would unpack to"):
        verify_segment(bomb)


@pytest.mark.parametrize("how", ["missing", "damaged", "forged"])
def test_a_segment_that_cannot_be_read_is_said_and_disturbs_nothing_else(
    how: str, plant: Any, store: Store, clock: Any, archiver: Archiver, sets: RuleSets, signer: Signer
) -> None:
    ship(plant, "L-0")
    ship(plant, "L-1")
    settle(plant, clock)
    (name,) = run(archiver, clock, limit=1).segments
    gone = "L-0" if not hot(store, "L-0") else "L-1"
    kept = "L-1" if gone == "L-0" else "L-0"
    file = path_of(store.archive, name)
    if how == "missing":
        file.unlink()
    elif how == "forged":
        with zipfile.ZipFile(file) as archive:
            parts = {part: archive.read(part).replace(b"tester", b"forger") for part in archive.namelist()}
        with zipfile.ZipFile(file, "w") as archive:
            for part, content in parts.items():
                archive.writestr(part, content)
    else:
        damaged = bytearray(file.read_bytes())
        damaged[200:260] = bytes(60)
        file.write_bytes(damaged)
    reading, feed = Reading(store), Feed(store)
    for ask in (
        lambda: reading.journal(gone), lambda: Audits(store, clock, sets, signer).export(gone, "t"),
        lambda: changes(store), lambda: Ledger(store, clock).lines(lot=gone),
    ):  # fmt: skip
        with pytest.raises(ArchiveUnavailable, match=name[:16]):
            ask()
    assert reading.lot(gone).closed == "shipped"
    assert len(reading.journal(kept)) == 6
    assert Ledger(store, clock).acknowledged(gone)
    assert Business(store, clock).numbers(clock().date()).lead_times
    assert feed.after(feed.newest(), 10) == []
    report = verify(reading.journals())
    assert [(b.lot, name[:16] in b.problem) for b in report.breaks] == [(gone, True)]
    assert plant.hold(gone, "H").outcome == "applied"
    assert plant.hold(kept, "H").outcome == "applied"
    assert (archiver.state().segments[0].problem is None) == (how == "damaged"), "the manifest is looked at, no more"


def test_a_lot_that_goes_on_while_its_segment_is_written_stays(
    plant: Any, store: Store, clock: Any, archiver: Archiver
) -> None:
    ship(plant, "L-0")
    ship(plant, "L-1")
    settle(plant, clock)
    asked = itertools.count()

    def go_on() -> bool:
        if next(asked) == 1:  # it is written, and nothing was moved yet
            assert plant.hold("L-0", "H").outcome == "applied"
        return True

    report = run(archiver, clock, go_on=go_on)
    assert (report.lots, report.kept["held"]) == (1, 1)
    assert (len(hot(store, "L-0")), hot(store, "L-1")) == (7, [])
    assert len(changes(store)) == len({change.id for change in changes(store)}), "none is told twice"
    assert verify(Reading(store).journals()).intact


def test_two_that_archive_at_once_archive_each_lot_once(
    plant: Any, store: Store, clock: Any, archiver: Archiver, signer: Signer
) -> None:
    for n in range(3):
        ship(plant, f"L-{n}")
    settle(plant, clock)
    feed, asked = changes(store), itertools.count()

    def go_on() -> bool:
        if next(asked) == 1:  # the first has written its segment, and moved nothing yet
            assert run(Archiver(store, clock, signer), clock, limit=2).lots == 2
        return True

    assert run(archiver, clock, go_on=go_on).lots == 1
    assert all(hot(store, f"L-{n}") == [] for n in range(3))
    assert all(one.problem is None for one in archiver.state().segments)
    assert changes(store) == feed
    assert verify(Reading(store).journals()).intact


def test_the_newest_entry_stays_so_that_no_position_is_given_again(
    plant: Any, store: Store, clock: Any, archiver: Archiver
) -> None:
    ship(plant, "L-0")
    ship(plant, "L-1")
    settle(plant, clock)
    sql(plant, "UPDATE lots SET closed = 'voided' WHERE id LIKE 'NEWEST%'")
    sql(plant, "DELETE FROM deliveries WHERE lot LIKE 'NEWEST%'")
    clock.forward(40 * DAY)
    report = run(archiver, clock)
    assert (report.lots, report.kept["newest"]) == (1, 2), "one has the newest entry, one the newest delivery"
    newest = Feed(store).newest()
    plant.hold("L-0", "H")
    (following,) = Feed(store).after(newest, 10)
    assert following[0] > newest
    assert following[1].lot == "L-0"


def test_what_was_archived_can_be_brought_back(
    plant: Any, store: Store, clock: Any, archiver: Archiver, count: Any
) -> None:
    for n in range(3):
        ship(plant, f"L-{n}")
    settle(plant, clock)
    rows, feed, told = count("journal"), changes(store), count("deliveries")
    (name,) = run(archiver, clock).segments
    assert archiver.restore(lot="L-1") == (1, 6)
    assert archiver.restore(segment=name[:8]) == (2, 12)
    assert (count("journal"), count("archived_lots"), count("deliveries")) == (rows, 0, told)
    path_of(store.archive, name).unlink()
    assert changes(store) == feed
    assert verify(Reading(store).journals()).intact
    assert run(archiver, clock).lots == 3


def sql(plant: Any, statement: str) -> None:
    with plant.store.engine.begin() as connection:
        connection.execute(text(statement.replace(":", "\\:")))


#: What may happen to a lot that was shipped, in any order.
STEPS: dict[str, Callable[[Any, str, int], Any]] = {
    "hold": lambda p, lot, n: p.hold(lot, f"H-{n % 3}"),
    "lift": lambda p, lot, n: [p.lift(lot, f"H-{name}") for name in range(3)],
    "return": lambda p, lot, n: p.send("lot.returned.v1", lot, {"rma": f"R-{n}", "quantity": {"value": "100", "unit": "ea"}}),
    "inspect": lambda p, lot, n: p.send("inspection.recorded.v1", lot, {"inspection": f"IL-{lot}-{n}", "measurements": [
        {"characteristic": "diameter", "value": "74.001", "unit": "mm", "sample": i} for i in range(1, 6)]}),
    "ship": lambda p, lot, n: p.send("lot.shipped.v1", lot, {"shipment": f"S-{lot}-{n}", "customer": "K"}),
    "void": lambda p, lot, n: p.send("shipment.voided.v1", lot, {"shipment": f"SH-{lot}", "reason": {"code": "carrier"}}),
}  # fmt: skip
_numbers = itertools.count()


@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(steps=st.lists(st.sampled_from([*STEPS, "archive", "archive", "restore"]), min_size=4, max_size=14))
def test_whatever_happens_to_archived_lots_the_journal_is_whole_and_folds_to_the_lot(
    steps: list[str], plant: Any, store: Store, clock: Any, archiver: Archiver
) -> None:
    lot, reading = f"P-{next(_numbers)}", Reading(store)
    ship(plant, lot)
    for number, step in enumerate(["archive", *steps]):
        before = reading.journal(lot)
        if step == "archive":
            settle(plant, clock)
            run(archiver, clock)
        elif step == "restore":
            with contextlib.suppress(NotFound):
                archiver.restore(lot=lot)
        else:
            STEPS[step](plant, lot, number)
            plant.agree()
        after = reading.journal(lot)
        assert after[: len(before)] == before
        assert [e.version for e in after] == list(range(1, len(after) + 1))
        assert fold(after) == reading.lot(lot)
        assert reading.holds(lot) == lines_of(after)
    assert verify(reading.journals(lot)).intact


#: Forks a process that archives for every line that it reads, so that each may be killed without starting Python anew.
KILLED = """
import os, sys
from datetime import UTC, datetime
from pathlib import Path
import engine.archive
from engine.checkpoints import signer_of
from engine.settings import Settings
from engine.store.opening import open_store
engine.archive.SEGMENT_LOTS, engine.archive.MOVED_AT_ONCE = 8, 2
url, home, before, now = sys.argv[1:]
for _ in sys.stdin:
    pid = os.fork()
    if pid == 0:
        store, moment = open_store(url, Path(home)), datetime.fromisoformat(now)
        archiver = engine.archive.Archiver(store, lambda: moment, signer_of(Settings(home=Path(home))))
        print(os.getpid(), flush=True)
        archiver.run(before, "tester")
        os._exit(0)
    _, status = os.waitpid(pid, 0)
    print("over" if os.WIFEXITED(status) else "killed", flush=True)
"""


def test_killed_at_any_moment_it_loses_nothing_and_leaves_nothing_half(
    plant: Any, store: Store, clock: Any, sets: RuleSets, database_url: str, tmp_path: Path
) -> None:
    lots = [f"L-{n}" for n in range(16)]
    for lot in lots:
        ship(plant, lot)
    settle(plant, clock)
    reading = Reading(store)
    before = {lot: reading.journal(lot) for lot in lots}
    feed = changes(store)
    url = store.engine.url.render_as_string(hide_password=False) if database_url else ""
    arguments = [sys.executable, "-c", KILLED, url, str(tmp_path), instant(clock() - timedelta(days=LEAST_DAYS)), clock().isoformat()]
    kills, between = 0, 0
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) as forking:
        assert forking.stdin is not None
        assert forking.stdout is not None
        while True:
            forking.stdin.write("go\n")
            pid = int(forking.stdout.readline())
            time.sleep(0.004 + 0.004 * kills)
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            over = forking.stdout.readline().strip() == "over"
            gone = [lot for lot in lots if not hot(store, lot)]
            assert all(len(hot(store, lot)) in (0, len(before[lot])) for lot in lots), "a lot is here or there"
            assert {lot: reading.journal(lot) for lot in lots} == before
            if over:
                break
            kills, between = kills + 1, between + (0 < len(gone) < len(lots))
        forking.stdin.close()
    assert gone == lots
    assert kills >= 3, "it was killed again and again"
    assert between, "some of them in the middle"
    assert changes(store) == feed
    assert verify(reading.journals()).intact


def test_checkpoints_of_everything_hold_over_what_was_archived(
    plant: Any, store: Store, clock: Any, archiver: Archiver, sets: RuleSets, signer: Signer
) -> None:
    everything = InstallationCheckpoints(store, signer, clock)
    keys = keys_of(signer)

    def problems() -> list[str]:
        return verify_checkpoints(store, keys).problems

    story(plant, clock)
    for n in range(5):
        ship(plant, f"L-{n}")
    first = everything.make()
    assert first is not None
    settle(plant, clock)
    assert run(archiver, clock).lots >= 5
    assert problems() == [], "what was signed before it was archived"
    lines = everything.lines(1, limit=10_000)
    assert (len(lines), lines[0].version) == (first.checkpoint.entries, 1)

    plant.hold("L-0", "H-9")
    plant.lift("L-0", "H-9")
    ship(plant, "L-9")
    settle(plant, clock)
    assert run(archiver, clock).lots >= 2
    second = everything.make()
    assert second is not None
    assert (second.new, problems()) == (True, []), "what was archived before it was signed"
    archive = Audits(store, clock, sets, signer).export("L-9", "tester")
    report = verify_archive(archive, signer.public.public_key.encode())
    assert report.problems == []
    assert INCLUSION in zipfile.ZipFile(io.BytesIO(archive)).namelist(), "an archived lot is proved to be in it"

    archiver.restore(lot="L-0")
    assert problems() == [], "what was brought back has its old places"
    lost = next(store.archive.glob("*.zip"))
    lost.rename(lost.with_suffix(".away"))
    said = problems()
    assert said, "what cannot be read is not taken for what was signed"
    assert all("archive" in words for words in said), said
    lost.with_suffix(".away").rename(lost)
    assert problems() == []
