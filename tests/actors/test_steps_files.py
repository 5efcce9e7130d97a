"""Connector files with steps: every mistake is told at load with its place; what is right is gone through as it says."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from actors.connectors.format import ConnectorInvalid, load
from actors.connectors.http import Exchange
from actors.connectors.protocols import reader_of, requests_of, target_of
from actors.connectors.readback import NotRead
from engine.effects import StockStatus
from engine.ledger import Delivery, key_of
from engine.settings import load_settings

GOOD = """\
connector: 1
name: mes
protocol: steps
base_url: URL
constants: {house: WH}
stock: {quality: q, unrestricted: u, restricted: r, blocked: b, issued: ignore, none: n}
requests:
  write:
    takes: [word]
    method: PUT
    path: /lots/${lot}
    json: {word: "${word}", house: "${constants.house}"}
steps:
  locate:
    - path: /find
      query: {lot: "${lot}"}
      classify: [{status: [404], outcome: missing}]
      bind: {rows: body.rows}
  register:
    - {path: /lots, json: {lot: "${lot}"}}
  read:
    - when: size(rows) > 0
      path: /lots/${rows[0].id}
      bind: {seen: body.word}
  observed: seen
  apply:
    - each: rows
      as: row
      steps:
        - {use: write, with: {word: "${target_stock}"}}
"""


def write(folder: Path, text: str, url: str = "http://mes.example:81") -> Path:
    path = folder / "mes.yaml"
    path.write_text(text.replace("URL", url))
    return path


@pytest.mark.parametrize(("old", "new", "said"), [
    ("rows[0].id", "row[0].id", "mes.yaml:23:7: steps.read[0].path: row is not known; known: allocatable, "),
    ("${lot}\n    json", "${lot\n    json", "mes.yaml:11:5: requests.write.path: a ${ is not closed: ${lot"),
    ("observed: seen", "observed: sene", "mes.yaml:25:3: steps.observed: sene is not known"),
    ("observed: seen", "observed: seen +", "steps.observed: 'seen +' is no expression"),
    ("each: rows", "each: frows(rows)", "steps.apply[0].each: there is no function frows; there are all, b64json"),
    ("use: write", "use: wirte", "steps.apply[0].steps[0].use: there is no request wirte; there are write"),
    ("with: {word", "with: {wrod", "steps.apply[0].steps[0].with: write takes word"),
    ("as: row", "as: lot", "steps.apply[0].as: lot is a name already"),
    ("bind: {rows", "bind: {body", "steps.locate[0].bind.body: body is a name already"),
    ("takes: [word]", "takes: [word, key]", "requests.write.takes: key is a name already"),
    ("- each: rows\n      as: row", "- as: row", "steps.apply[0]: a step has one of path, use, each, outcome, or a let"),
    ("when: size(rows) > 0\n", "when: size(rows) > 0\n      each: rows\n", "steps.read[0]: a step has one of path, use"),
    ('query: {lot: "${lot}"}', 'query: {lot: "${secret.key}"}', "steps.locate[0].query: secret is not known"),
    ('json: {lot: "${lot}"}', 'json: {lot: "${secret.key}"}', "${secret.key} is not set; set LOTGATE_SECRET_KEY or"),
    ("outcome: missing}", 'when: "bdoy == 1", outcome: missing}', "steps.locate[0].classify[0].when: bdoy is not known"),
    ("outcome: missing}", 'message: "${lots}", outcome: missing}', "classify[0].message: lots is not known"),
    ("outcome: missing}", "outcome: lost}", "Invalid enum value 'lost'"),
    ("protocol: steps\n", "", "mes.yaml:1:1: protocol: http needs deliver"),
    ("steps:\n  locate", "setps:\n  locate", "Object contains unknown field `setps`"),
    ("as: row\n", "as: row\n      message: x\n", "message is of no use in this step"),
    ("method: PUT", "method: SHOUT", "mes.yaml:8:3: requests[...].method: Invalid enum value 'SHOUT'"),
    ("constants:", "deliver: {method: PUT, path: /}\nconstants:", "deliver: is of no use with protocol steps"),
    ("issued: ignore, ", "", "stock: has no word for issued"),
    ("constants:", "read_back: {expect: {observed: x}, list: {path: /l}}\nconstants:", "read_back.list: is of no use with"),
])  # fmt: skip
def test_a_mistake_is_told_with_its_place(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert old in GOOD
    with pytest.raises(ConnectorInvalid) as caught:
        load(write(tmp_path, GOOD.replace(old, new, 1)), load_settings({}))
    assert said in caught.value.detail


def test_what_every_step_would_send_is_shown_unsent(tmp_path: Path) -> None:
    connector = load(write(tmp_path, GOOD), load_settings({}))
    shown = [(name, call.method, call.path, call.json) for name, call in requests_of(connector, status("L/1"), "k")]
    assert shown == [
        ("steps.locate[0]", "GET", "http://mes.example:81/find?lot=L%2F1", None),
        ("steps.register[0]", "POST", "http://mes.example:81/lots", {"lot": "L/1"}),
        ("steps.read[0]", "GET", "http://mes.example:81/lots/${rows[0].id}", None),
        ("steps.apply[0].steps[0]", "PUT", "http://mes.example:81/lots/L%2F1", {"word": "u", "house": "WH"}),
    ]


def status(lot: str, stock: str = "unrestricted") -> StockStatus:
    return StockStatus(lot, 3, "RING-74", "A", "released", stock, True, "10", "ea", None, None, [], [])


@pytest.fixture
def tell(tmp_path: Path, talker: Any) -> Iterator[Any]:
    targets = []

    def one(text: str = GOOD, stock: str = "unrestricted", leases: int = 99) -> Exchange:
        target = target_of(load(write(tmp_path, text, talker.url), load_settings({"LOTGATE_SECRET_KEY": "s3cret"})))
        targets.append(target)
        left = iter([True] * leases)
        known = Delivery(1, "L/1", 3, "mes", status("L/1", stock), 1, 1, "2026-11-27T08:00:00Z")
        return target.deliver([known], lambda: next(left, False))[0]

    yield one
    for target in targets:
        target.close()


def test_locate_read_apply_and_read_again(talker: Any, tell: Any) -> None:
    for body in ({"rows": [{"id": "a b"}]}, {"word": "q"}, {"done": True}, {"word": "u"}):
        talker.say(200, body)
    told = tell()
    assert (told.outcome, told.detail) == ("applied", "mes says u")
    assert [line for line, _, _ in talker.heard] == [
        "GET /find?lot=L%2F1", "GET /lots/a%20b", "PUT /lots/L%2F1", "GET /lots/a%20b",
    ]  # fmt: skip
    assert talker.heard[2][2] == {"word": "u", "house": "WH"}


def test_what_agrees_is_not_written(talker: Any, tell: Any) -> None:
    talker.say(200, {"rows": [{"id": 1}]})
    talker.say(200, {"word": "u"})
    assert tell().outcome == "in_sync"
    assert len(talker.heard) == 2


def test_what_still_says_something_else_after_it_was_told_is_told_again(talker: Any, tell: Any) -> None:
    for body in ({"rows": [{"id": 1}]}, {"word": "q"}, {}, {"word": "q"}):
        talker.say(200, body)
    told = tell()
    assert (told.outcome, told.away, told.detail) == ("retry", False, "mes was told u and still says q")


def test_what_it_does_not_know_is_registered_and_looked_for_again(talker: Any, tell: Any) -> None:
    talker.say(404, {})
    for body in ({}, {"rows": [{"id": 1}]}, {"word": "u"}):
        talker.say(200, body)
    assert tell().outcome == "in_sync"
    assert [line for line, _, _ in talker.heard][:3] == ["GET /find?lot=L%2F1", "POST /lots", "GET /find?lot=L%2F1"]


@pytest.mark.parametrize("leases", [0, 1, 2, 3])
def test_no_call_is_made_when_the_lease_ends(talker: Any, tell: Any, leases: int) -> None:
    for body in ({"rows": [{"id": 1}]}, {"word": "q"}, {}, {"word": "u"}):
        talker.say(200, body)
    told = tell(leases=leases)
    assert (told.outcome, told.away) == ("retry", True)
    assert len(talker.heard) == leases


@pytest.mark.parametrize(("status", "body", "outcome", "away"), [
    (200, b"<html>login</html>", "retry", True), (200, {"rows": 7}, "retry", False), (200, {}, "retry", False),
    (200, {"rows": [{}]}, "retry", False), (500, {}, "retry", False), (503, {}, "retry", True), (429, {}, "throttle", True),
    (401, {}, "auth", True), (400, {}, "permanent", False), (302, {}, "permanent", False),
])  # fmt: skip
def test_an_answer_that_nobody_was_made_for_changes_nothing(
    talker: Any, tell: Any, status: int, body: Any, outcome: str, away: bool
) -> None:
    talker.say(status, body)
    told = tell()
    assert (told.outcome, told.away) == (outcome, away), told
    assert all(line.startswith("GET") for line, _, _ in talker.heard)


def test_a_write_without_an_answer_may_be_under_way(talker: Any, tell: Any) -> None:
    talker.say(200, {"rows": [{"id": 1}]})
    talker.say(200, {"word": "q"})
    talker.do(lambda connection: connection.close())
    told = tell(GOOD + "limits: {settle_s: 40}\n")
    assert (told.outcome, told.away, told.retry_after_seconds) == ("unknown", True, 40.0)


def test_a_read_without_an_answer_is_just_tried_again(talker: Any, tell: Any) -> None:
    talker.do(lambda connection: connection.close())
    assert tell().outcome == "retry"


def test_nobody_there_is_just_tried_again(tmp_path: Path) -> None:
    target = target_of(load(write(tmp_path, GOOD, "http://127.0.0.1:9"), load_settings({})))
    known = Delivery(1, "L", 3, "mes", status("L"), 1, 1, "2026-11-27T08:00:00Z")
    told = target.deliver([known])[0]
    target.close()
    assert (told.outcome, told.away) == ("retry", True)


def test_a_word_to_ignore_needs_no_call(talker: Any, tell: Any) -> None:
    told = tell(stock="issued")
    assert (told.outcome, told.calls) == ("ignored", [])


def test_a_refusal_is_told_in_its_own_words_and_undone(talker: Any, tell: Any) -> None:
    text = GOOD.replace(
        '- {use: write, with: {word: "${target_stock}"}}',
        '- {use: write, with: {word: "${target_stock}"},'
        ' classify: [{when: "body.left < row.need", outcome: conflict, message: "only ${body.left} of ${row.need}"}],'
        ' undo: [{method: DELETE, path: "/lots/${row.id}"}]}',
    )
    talker.say(200, {"rows": [{"id": 1, "need": 5}]})
    talker.say(200, {"word": "q"})
    talker.say(200, {"left": 3})
    talker.say(500)
    told = tell(text)
    assert (told.outcome, told.detail) == ("conflict", "only 3 of 5")
    assert talker.heard[-1][0] == "DELETE /lots/1"


def test_a_secret_in_a_body_is_sent_and_not_kept(talker: Any, tell: Any) -> None:
    text = GOOD.replace('house: "${constants.house}"', 'pass: "x ${secret.key} y"')
    talker.say(200, {"rows": [{"id": 1}]})
    talker.say(200, {"word": "q"})
    talker.say(400, {"you": "sent x s3cret y"})
    told = tell(text)
    assert talker.heard[2][2] == {"word": "u", "pass": "x s3cret y"}
    assert "s3cret" not in told.kept() + told.detail
    assert "x *** y" in told.kept()


def test_reading_back_says_what_is_observed_and_writes_nothing(tmp_path: Path, talker: Any) -> None:
    text = GOOD + 'read_back: {expect: {observed: "${target_stock}"}}\n'
    connector = load(write(tmp_path, text, talker.url), load_settings({}))
    assert connector.read_back is not None
    known = {"target_stock": "u", "key": key_of("mes", "L", 3), **{n: getattr(status("L"), n) for n in StockStatus.__struct_fields__}}

    def read() -> Any:
        reader = reader_of(connector, connector.read_back)  # type: ignore[arg-type]
        try:
            return reader.one(known)
        finally:
            reader.close()

    talker.say(200, {"rows": [{"id": 1}]})
    talker.say(200, {"word": {"u": 60, "q": 40.5}})
    assert read() == {"observed": "q: 40.5, u: 60", "left": False}
    talker.say(404)
    assert read() is None
    talker.say(503)
    with pytest.raises(NotRead, match="mes answered 503"):
        read()
    assert all(line.startswith("GET") for line, _, _ in talker.heard)


def test_a_document_is_read_along_by_its_own_path(tmp_path: Path, talker: Any) -> None:
    text = GOOD + 'read_back: {expect: {observed: x}, documents: {order: "/orders/${order}"}}\n'
    connector = load(write(tmp_path, text, talker.url), load_settings({}))
    assert connector.read_back is not None
    reader = reader_of(connector, connector.read_back)
    talker.say(200, {"order": "P 1"})
    talker.say(404)
    known = {"order": "P 1", "target_stock": "u", "lot": "L", "version": 1}
    assert reader.document("/orders/${order}", known) == {"order": "P 1"}
    assert reader.document("/orders/${order}", known) is None
    reader.close()
    assert talker.heard[0][0] == "GET /orders/P%201"
