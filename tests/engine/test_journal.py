"""The journal: canonical bytes that others can make too, and every kind of tampering found."""

import hashlib
import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.journal import GENESIS, Entry, canonical, entry_hash, verify_lot
from engine.lot import Lot, decode_lot

words = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


@st.composite
def entries(draw: st.DrawFn) -> Entry:
    maybe = st.none() | words
    return Entry(
        draw(words), draw(st.integers(1, 10**6)), draw(words), draw(words), draw(words), draw(words), draw(words),
        draw(maybe), draw(words), draw(words), draw(maybe), draw(maybe), draw(maybe), draw(words), draw(words),
        draw(words), draw(words), draw(words), draw(words),
    )  # fmt: skip


@given(entries())
def test_canonical_bytes_are_plain_json(entry: Entry) -> None:
    """An independent implementation makes the same bytes."""
    members = ["lotgate.entry.v1", *(getattr(entry, name) for name in Entry.__struct_fields__[:-1])]
    text = json.dumps(members, ensure_ascii=False, separators=(",", ":"))
    assert canonical(entry) == text.encode()
    assert entry_hash(entry) == hashlib.sha256(text.encode()).hexdigest()


def life() -> tuple[list[Entry], Lot]:
    """A short, true journal: received, quarantined, held."""
    receipt = {"item": "R", "revision": "A", "quantity": {"value": "5", "unit": "ea"}, "supplier": "S", "receipt": "G"}
    hold = {"hold": "H", "reason": {"code": "x"}}
    steps = [
        ("event", "receive", "lot.received.v1", "absent", "received", receipt),
        ("consequence", "quarantine", "lot.quarantined.v1", "received", "quarantined", {}),
        ("event", "hold", "hold.applied.v1", "quarantined", "blocked", hold),
    ]
    found: list[Entry] = []
    for version, (kind, trigger, type_, before, after, data) in enumerate(steps, 1):
        entry = Entry(
            "L", version, kind, trigger, type_, "s", f"e{version}", None, "2026-01-01T00:00:00.000000Z", "p", None,
            None, None, before, after, "sha256:0", json.dumps(data), "{}", found[-1].hash if found else GENESIS,
        )  # fmt: skip
        found.append(msgspec.structs.replace(entry, hash=entry_hash(entry)))
    lot = decode_lot(
        json.dumps({
            "id": "L", "version": 3, "state": "blocked", "item": "R", "revision": "A", "quantity": "5", "unit": "ea",
            "received_at": "2026-01-01T00:00:00.000000Z", "changed_at": "2026-01-01T00:00:00.000000Z",
            "supplier": "S", "receipt": "G", "holds": [{"hold": "H", "reason": "x", "source": "s"}],
            "head": found[-1].hash,
        })
    )  # fmt: skip
    return found, lot


def problem(lines: list[Entry], lot: Lot | None) -> str:
    _, broken = verify_lot("L", lines, lot)
    return "" if broken is None else broken.problem


def test_a_true_journal_verifies() -> None:
    lines, lot = life()
    assert problem(lines, lot) == ""


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"data": '{"hold":"H","reason":{"code":"other"}}'}, "content was changed"),
        ({"principal": "somebody else"}, "content was changed"),
        ({"state_after": "released"}, "content was changed"),
    ],
)
def test_a_changed_entry_is_found(change: dict[str, str], words: str) -> None:
    lines, lot = life()
    lines[2] = msgspec.structs.replace(lines[2], **change)
    assert words in problem(lines, lot)


def test_an_entry_that_was_changed_and_hashed_again_still_breaks_the_fold_or_the_chain() -> None:
    lines, lot = life()
    forged = msgspec.structs.replace(lines[1], principal="somebody else")
    lines[1] = msgspec.structs.replace(forged, hash=entry_hash(forged))
    assert "does not follow" in problem(lines, lot)
    lines, lot = life()
    last = msgspec.structs.replace(lines[2], data='{"hold":"H","reason":{"code":"other"}}')
    lines[2] = msgspec.structs.replace(last, hash=entry_hash(last))
    assert "does not give the stored state" in problem(lines, lot)


def test_deleting_reordering_and_cutting_are_found() -> None:
    lines, lot = life()
    assert "version 2 is missing" in problem([lines[0], lines[2]], lot)
    assert "version 1 is missing" in problem([lines[1], lines[0], lines[2]], lot)
    assert "does not give the stored state" in problem(lines[:2], lot)
    assert "no journal" in problem([], lot)
    assert "no lot beside it" in problem(lines, None)


def test_a_step_that_the_lifecycle_does_not_have_is_found() -> None:
    lines, lot = life()
    last = msgspec.structs.replace(lines[2], trigger="release", type="lot.released.v1", state_after="released", data="{}")
    lines[2] = msgspec.structs.replace(last, hash=entry_hash(last))
    assert "does not lead from" in problem(lines, lot)
