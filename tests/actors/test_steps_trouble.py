"""Steps against targets and files that are worse than expected: nothing wrong is agreed to, nothing grows without bound."""

import threading
import time
from pathlib import Path
from typing import Any

import pytest

from actors.connectors.expressions import FUNCTIONS, Expression
from actors.connectors.format import ConnectorInvalid, load
from actors.connectors.protocols import reader_of
from actors.deliver import Deliverer
from engine.effects import StockStatus
from engine.settings import load_settings
from tests.actors.test_steps_files import GOOD, tell, write

__all__ = ["tell"]
SIMPLE = """\
connector: 1
name: mes
protocol: steps
base_url: URL
stock: {quality: q, unrestricted: u, restricted: r, blocked: b, issued: i, none: n}
steps:
  read:
    - {path: /stock, bind: {rows: body.rows}}
  observed: "pairs(rows.map(r, [r.word, r.quantity]))"
  left: body_left
  apply:
    - each: rows
      as: row
      steps: [{path: "/rows/${row.id}", json: {word: "${target_stock}"}}]
read_back: {expect: {observed: "${target_stock}"}, gone: {left: [true]}}
""".replace("  left: body_left\n", "")
SETTINGS = {"LOTGATE_SECRET_KEY": "s3cret/key"}


# -- what a target may answer ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("quantity", [None, "many", [], {}, "NaN", "", True])
def test_a_quantity_that_is_none_is_not_overlooked(talker: Any, tell: Any, quantity: Any) -> None:
    talker.say(200, {"rows": [{"id": 1, "word": "u", "quantity": 5}, {"id": 2, "word": "q", "quantity": quantity}]})
    told = tell(SIMPLE)
    assert (told.outcome, len(talker.heard)) == ("retry", 1), told


@pytest.mark.parametrize("rows", [None, "u", 7])
@pytest.mark.parametrize("stock", ["unrestricted", "issued", "none"])
def test_stock_that_cannot_be_read_is_not_no_stock(talker: Any, tell: Any, rows: Any, stock: str) -> None:
    talker.say(200, {"rows": rows})
    told = tell(SIMPLE.replace('"pairs(rows.map(r, [r.word, r.quantity]))"', "pairs(rows)"), stock=stock)
    assert told.outcome == "retry", told


def test_a_list_that_nobody_expects_is_not_gone_through(talker: Any, tell: Any) -> None:
    """An expression that compares each with each would take minutes, and a step for each hours."""
    talker.say(200, {"deep": {"rows": [{"i": n} for n in range(6_000)]}, "rows": []})
    text = SIMPLE.replace("body.rows", '"body.deep.rows.filter(a, body.deep.rows.all(b, b.i <= a.i))"')
    began = time.monotonic()
    told = tell(text)
    assert time.monotonic() - began < 2
    assert (told.outcome, told.away) == ("retry", False)
    assert "more than 1000" in told.detail


def test_an_expression_costs_what_it_uses_and_not_what_there_is() -> None:
    large = [{"word": "q" * 10, "quantity": n} for n in range(40_000)]
    one = Expression("first([lot])")
    began = time.monotonic()
    for _ in range(100):
        assert one({"lot": "L-1", "large": large}) == "L-1"
    assert time.monotonic() - began < 1


def test_a_long_answer_makes_no_long_sentence(talker: Any, tell: Any) -> None:
    talker.say(400, ("<p>" + "s3cret/key " * 50_000).encode())
    told = tell(SIMPLE + "classify: [{status: [400], outcome: permanent, message: 'it refuses: ${text}'}]\n")
    assert told.outcome == "permanent"
    assert len(told.detail) <= 1000
    talker.say(200, {"rows": {str(n): "x" * 100 for n in range(900)}})
    assert len(tell(SIMPLE.replace('"pairs(rows.map(r, [r.word, r.quantity]))"', "json(rows)")).detail) <= 1000


def test_many_calls_are_not_all_kept(talker: Any, tell: Any) -> None:
    rows = [{"id": n, "word": "q", "quantity": 1, "x": "y" * 100} for n in range(300)]
    talker.say(200, {"rows": rows})
    for _ in rows:
        talker.say(200, {"z": "y" * 2000})
    talker.say(200, {"rows": rows})
    told = tell(SIMPLE.replace('word: "${target_stock}"', 'word: "${target_stock}", all: "${rows}"'), leases=999)
    assert len(talker.heard) == 302
    assert told.outcome == "retry"
    assert len(told.kept()) < 250_000
    assert "/rows/0" in told.kept()
    assert "/rows/299" in told.kept()


# -- answers and what follows ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("outcome", ["ignored", "in_sync"])
def test_an_answer_that_ends_it_ends_it(talker: Any, tell: Any, outcome: str) -> None:
    talker.say(404, {})
    told = tell(SIMPLE + f"classify: [{{status: [404], outcome: {outcome}}}]\n")
    assert (told.outcome, len(talker.heard)) == (outcome, 1), told


def test_what_is_still_missing_is_missing_for_good(talker: Any, tell: Any) -> None:
    for _ in range(3):
        talker.say(404, {})
    assert tell(SIMPLE + "classify: [{status: [404], outcome: missing}]\n").outcome == "permanent"


@pytest.mark.parametrize("code", [502, 504])
def test_a_gateway_that_gave_up_on_a_write_may_have_let_it_through(talker: Any, tell: Any, code: int) -> None:
    talker.say(200, {"rows": [{"id": 1, "word": "q", "quantity": 1}]})
    talker.say(code, b"<html>")
    told = tell(SIMPLE + "limits: {settle_s: 40}\n")
    assert (told.outcome, told.away, told.retry_after_seconds) == ("unknown", True, 40.0)
    talker.say(code, b"<html>")
    assert tell(SIMPLE).outcome == "retry", "a read changes nothing"


def test_what_a_step_that_is_passed_over_would_bind_is_null_when_it_is_read_again(talker: Any, tell: Any) -> None:
    text = SIMPLE.replace(
        "bind: {rows: body.rows}}",
        "bind: {rows: body.rows}}\n    - {when: size(rows) > 0, path: /word, bind: {word: body.word}}",
    ).replace('"pairs(rows.map(r, [r.word, r.quantity]))"', "word")
    talker.say(200, {"rows": [{"id": 1}]})
    talker.say(200, {"word": "q"})
    talker.say(200, {})
    talker.say(200, {"rows": []})
    told = tell(text)
    assert told.outcome == "conflict"
    assert "no stock" in told.detail


@pytest.mark.parametrize("part", ["", None])
def test_an_address_with_an_empty_part_is_another_address(talker: Any, tell: Any, part: Any) -> None:
    talker.say(200, {"rows": [{"id": part, "word": "q", "quantity": 1}]})
    told = tell(SIMPLE)
    assert (told.outcome, len(talker.heard)) == ("retry", 1), told


def test_calls_are_counted_and_not_deliveries(talker: Any, tell: Any) -> None:
    talker.say(200, {"rows": [{"id": n, "word": "q", "quantity": 1} for n in range(4)]})
    for _ in range(5):
        talker.say(200, {"rows": []})
    began = time.monotonic()
    tell(SIMPLE + "limits: {per_second: 4}\n")
    assert len(talker.heard) == 6
    assert time.monotonic() - began >= 0.45


# -- what is refused when a file is loaded ---------------------------------------------------------------------------


@pytest.mark.parametrize(("old", "new", "said"), [
    ('with: {word: "${target_stock}"}', 'with: {word: "${secret.key}"}', "steps.apply[0].steps[0].with: secret is not known"),
    ('json: {word: "${word}"', "json: {word: \"${secret['key']}\"", "secret.NAME"),
    ('json: {word: "${word}"', 'json: {word: "${json(secret)}"', "secret.NAME"),
    ("    - each: rows", "    - {when: lot == 'x', outcome: conflict, message: '${secret.key}'}\n    - each: rows",
     "steps.apply[0].message: secret is not known"),
    ("outcome: missing}", "when: secret.key == text, outcome: missing}", "classify[0].when: secret is not known"),
    ("bind: {rows: body.rows}", "bind: {first: body.rows}", "steps.locate[0].bind.first: first is a name already"),
    ("takes: [word]", "takes: [word, json]", "requests.write.takes: json is a name already"),
    ("observed: seen", "observed: 'rows.exists(r, r.ok) && r.ok ? seen : seen'", "steps.observed: r is not known"),
    ("- when: size(rows) > 0\n      path", "- when: size(rows) > 0\n      method: DELETE\n      path", "steps.read[0].method: "),
])  # fmt: skip
def test_what_would_fail_later_is_refused_at_load(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert old in GOOD
    with pytest.raises(ConnectorInvalid) as caught:
        load(write(tmp_path, GOOD.replace(old, new, 1)), load_settings(SETTINGS))
    assert said in caught.value.detail, caught.value.detail


@pytest.mark.parametrize("text", [
    "rows.map(r, r.id) == rows.filter(r, r.ok)", "rows.map(r, rows.exists(s, s.id == r.id))", "rows.all(r, r.r == [r][0])",
    "rows.map(lot, lot.id)[0] == lot", "body.secret.x == 'secret.y'",
])  # fmt: skip
def test_a_name_of_an_element_holds_inside_alone(text: str) -> None:
    found = Expression(text)
    assert [*found.unknown(frozenset({"rows", "lot", "body"}))] == []
    assert not found.secrets
    assert "first" in FUNCTIONS


# -- reading back ----------------------------------------------------------------------------------------------------


def reading(tmp_path: Path, url: str, text: str, stock: str, *, allocatable: bool) -> Any:
    connector = load(write(tmp_path, text, url), load_settings(SETTINGS))
    assert connector.read_back is not None
    told = StockStatus("L", 3, "RING-74", "A", "released", stock, allocatable, "10", "ea", None, None, [], [])
    known = {n: getattr(told, n) for n in StockStatus.__struct_fields__}
    reader = reader_of(connector, connector.read_back)
    try:
        return reader.one(known | {"target_stock": connector.stock[stock], "key": ""})
    finally:
        reader.close()


@pytest.mark.parametrize(("more", "stock"), [("", "issued"), ("", "none"), ("  empty: ignored\n", "blocked")])
def test_a_lot_of_which_nothing_has_to_be_there_agrees(tmp_path: Path, talker: Any, more: str, stock: str) -> None:
    """It was agreed to; a reading that says the contrary would tell it again and again, and then somebody."""
    talker.say(200, {"rows": []})
    word = {"issued": "i", "none": "n", "blocked": "b"}[stock]
    text = SIMPLE.replace("  apply:", f"{more}  apply:")
    assert reading(tmp_path, talker.url, text, stock, allocatable=False) == {"observed": word, "left": False}


def test_a_lot_that_left_as_it_might_agrees(tmp_path: Path, talker: Any) -> None:
    """Shipped to the last piece while it was released, before Lotgate hears of it."""
    text = SIMPLE.replace("bind: {rows: body.rows}", "bind: {rows: body.rows, sent: body.sent}")
    text = text.replace("  apply:", "  left: sent\n  apply:")
    talker.say(200, {"rows": [], "sent": True})
    assert reading(tmp_path, talker.url, text, "unrestricted", allocatable=True) == {"observed": "u", "left": False}
    talker.say(200, {"rows": [], "sent": True})
    assert reading(tmp_path, talker.url, text, "blocked", allocatable=False)["left"] is True
    talker.say(200, {"rows": [], "sent": False})
    assert reading(tmp_path, talker.url, text, "unrestricted", allocatable=True) is None


# -- leases ----------------------------------------------------------------------------------------------------------


def test_the_lease_of_a_write_that_may_be_under_way_outlives_it(owing: Any, tmp_path: Path) -> None:
    """A worker that is killed in a write leaves it under way as one that got no answer."""
    text = SIMPLE.replace("name: mes", "name: erp") + "limits: {settle_s: 90, timeout_s: 5}\n"
    (tmp_path / "erp.yaml").write_text(text.replace("URL", "http://127.0.0.1:9"))
    settings = load_settings({"LOTGATE_CONNECTORS": str(tmp_path)})
    one = Deliverer("erp", settings, owing.ledger, threading.Event())
    try:
        assert one.lease_seconds >= 90
    finally:
        one.close()
