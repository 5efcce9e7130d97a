"""Connector files: what is wrong is said at load, with file, line and column; what is right means what it says."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from actors.connectors.answers import Seen
from actors.connectors.format import Connector, ConnectorInvalid, load, meaning
from engine.settings import SHIPPED_CONNECTORS, load_settings

GOOD = """\
connector: 1
name: mes
base_url: http://mes.example:81/base/
stock: {quality: q, unrestricted: u, restricted: r, blocked: b, issued: i, none: n}
deliver:
  method: PUT
  path: /lots/${lot}
  headers: {X-Key: "${key}"}
  json: {s: "${target_stock}", v: "${version}"}
classify:
  - {status: [409], body: {code: 7}, outcome: superseded}
"""


def outcome_of(connector: Connector, status: int, body: Any) -> str:
    return meaning(connector, connector.telling.classify, Seen(status, {}, body))[0]


def write(folder: Path, text: str) -> Path:
    path = folder / "mes.yaml"
    path.write_text(text)
    return path


def complaint(folder: Path, text: str, **environment: str) -> str:
    with pytest.raises(ConnectorInvalid) as caught:
        load(write(folder, text), load_settings(environment))
    return caught.value.detail


@pytest.mark.parametrize("name", ["erp", "wms"])
def test_the_shipped_files_load(name: str) -> None:
    connector = load(SHIPPED_CONNECTORS / f"{name}.yaml", load_settings({f"LOTGATE_{name.upper()}_URL": "http://h:1/"}))
    assert (connector.name, connector.base_url) == (name, "http://h:1")


@pytest.mark.parametrize(("old", "new", "said"), [
    ("method: PUT", "method: SHOUT", "mes.yaml:6:3: deliver.method: Invalid enum value 'SHOUT'"),
    ("  path:", "  paht:", "mes.yaml:6:3: deliver: Object contains unknown field `paht`"),
    ("connector: 1", "connector: 2", "mes.yaml:1:1: connector: Invalid enum value 2"),
    ("${lot}", "${lto}", "mes.yaml:7:3: deliver.path: ${lto} is not known; known: allocatable, "),
    ("${lot}", "${lot", "mes.yaml:7:3: deliver.path: a ${ is not closed"),
    ("http://mes", "ftp://mes", "mes.yaml:3:1: base_url: 'ftp://mes.example:81/base/' is not an http or https address"),
    ("http://mes", "${settings.mes_url}", "mes.yaml:3:1: base_url: ${settings.mes_url} is not known"),
    ("quality: q, ", "", "mes.yaml:4:8: stock: has no word for quality"),
    ("none: n", "none: n, lost: l", "lost is no stock status"),
    ("outcome: superseded", "outcome: fine", "mes.yaml:11:38: classify[0].outcome: Invalid enum value 'fine'"),
    ("status: [409]", "status: [40]", "Expected `int` >= 100"),
    ("name: mes", "name: mes\nname: erp", "mes.yaml:3:1: name is there twice"),
    ("stock: {", "stock: [", "mes.yaml:4:"),
    ('"${key}"', '"${secret.token}"', "${secret.token} is not set; set LOTGATE_SECRET_TOKEN or LOTGATE_SECRET_TOKEN_FILE"),
    ('"${version}"', '"${secret.token}"', "mes.yaml:9:9: deliver.json: ${secret.token} is not known"),
    ("classify:", "limits: {concurrency: 0}\nclassify:", "mes.yaml:10:10: limits.concurrency: Expected `int` >= 1"),
    ("classify:", "secrets: {token: abc}\nclassify:", "secrets are never written here"),
])  # fmt: skip
def test_a_mistake_is_told_with_its_place(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert old in GOOD
    assert said in complaint(tmp_path, GOOD.replace(old, new, 1))


def test_every_unknown_name_is_told_at_once(tmp_path: Path) -> None:
    said = complaint(tmp_path, GOOD.replace("${lot}", "${lto}").replace("${version}", "${vresion}"))
    assert "${lto}" in said
    assert "${vresion}" in said


@pytest.mark.parametrize("text", ["", "[]", "just words", "\x00", "a: &x [*x]", "deliver: &x {json: *x}"])
def test_what_is_no_connector_at_all_is_told_too(tmp_path: Path, text: str) -> None:
    assert complaint(tmp_path, text).startswith("mes.yaml")


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConnectorInvalid, match=r"mes\.yaml: it cannot be read"):
        load(tmp_path / "mes.yaml", load_settings({}))


@pytest.fixture
def connector(tmp_path: Path) -> Connector:
    return load(write(tmp_path, GOOD), load_settings({}))


@pytest.mark.parametrize(("status", "body", "outcome"), [
    (200, {}, "applied"), (201, {"x": 1}, "applied"), (204, None, "applied"),
    (200, None, "retry"), (200, "text", "retry"), (200, [1], "retry"),
    (301, None, "permanent"), (400, {}, "permanent"), (422, {}, "permanent"), (404, {}, "permanent"),
    (409, {"code": 7}, "superseded"), (409, {"code": 8}, "permanent"), (409, None, "permanent"),
    (401, {}, "auth"), (403, None, "auth"), (407, None, "auth"),
    (408, None, "retry"), (423, None, "retry"), (425, None, "retry"), (429, None, "throttle"),
    (500, {}, "retry"), (503, None, "retry"), (599, None, "retry"),
])  # fmt: skip
def test_what_an_answer_means(connector: Connector, status: int, body: Any, outcome: str) -> None:
    assert outcome_of(connector, status, body) == outcome


def test_the_lines_of_a_request_come_before_those_of_the_file(tmp_path: Path) -> None:
    tree = yaml.safe_load(GOOD)
    tree["deliver"]["classify"] = [
        {"status": [409], "outcome": "retry"},
        {"body": {"ok": False}, "outcome": "permanent"},
    ]
    found = load(write(tmp_path, yaml.safe_dump(tree)), load_settings({}))
    assert outcome_of(found, 409, {"code": 7}) == "retry"
    assert outcome_of(found, 200, {"ok": False}) == "permanent"  # a refusal with status 200
    assert outcome_of(found, 200, {"ok": True}) == "applied"


@pytest.mark.parametrize(("body", "outcome"), [
    ({"error": {"code": 200, "data": {"name": "AccessDenied", "debug": "…"}}}, "auth"),
    ({"error": {"code": 200, "data": {"name": "UserError"}}}, "permanent"),
    ({"error": {"data": {}}}, "permanent"), ({"error": "AccessDenied"}, "permanent"), ({"error": None}, "permanent"),
    ({"result": True, "error": {}}, "applied"), ({}, "permanent"),
])  # fmt: skip
def test_a_refusal_deep_inside_a_success_is_found(tmp_path: Path, body: Any, outcome: str) -> None:
    tree = yaml.safe_load(GOOD)
    tree["classify"] = [
        {"status": [200], "body": {"error": {"data": {"name": "AccessDenied"}}}, "outcome": "auth"},
        {"status": [200], "body": {"error": {}, "result": True}, "outcome": "applied"},
        {"status": [200], "outcome": "permanent"},
    ]
    found = load(write(tmp_path, yaml.safe_dump(tree)), load_settings({}))
    assert outcome_of(found, 200, body) == outcome


def test_headers_and_expressions_tell_answers_apart(tmp_path: Path) -> None:
    tree = yaml.safe_load(GOOD)
    tree["classify"] = [
        {"status": [400], "headers": {"X-Reason": "reserved"}, "outcome": "conflict", "message": "${body.left} are reserved"},
        {"status": [400], "when": "body.code == 5 && text.contains('busy')", "outcome": "retry"},
    ]
    found = load(write(tmp_path, yaml.safe_dump(tree)), load_settings({}))

    def said(headers: dict[str, str], body: Any, text: str = "") -> tuple[str, str]:
        return meaning(found, [], Seen(400, headers, body, text))

    assert said({"x-reason": "reserved"}, {"left": 7}) == ("conflict", "7 are reserved")
    assert said({"x-reason": "reserved"}, {}) == ("conflict", "${body.left} are reserved (body.left: has no 'left')")
    assert said({"x-reason": "other"}, {"code": 5}, "busy now") == ("retry", "")
    assert said({}, {"code": 5}, "idle") == ("permanent", "")
    assert said({}, "code 5", "busy") == ("permanent", ""), "an expression that was not made for this answer is not true"


def test_a_file_may_say_that_answers_have_no_body(tmp_path: Path) -> None:
    found = load(write(tmp_path, GOOD + "answers: any\n"), load_settings({}))
    assert outcome_of(found, 200, None) == "applied"


def test_secrets_come_from_the_environment_or_a_file_and_are_never_shown(tmp_path: Path) -> None:
    from engine.settings import shown

    (tmp_path / "token").write_text("s3cret-from-file\n")
    settings = load_settings({"LOTGATE_SECRET_TOKEN_FILE": str(tmp_path / "token"), "LOTGATE_SECRET_OTHER": "plain"})
    found = load(write(tmp_path, GOOD.replace('"${key}"', '"Bearer ${secret.token}"')), settings)
    assert found.secrets == {"secret.token": "s3cret-from-file"}
    assert shown(settings)["secrets"] == "other=***, token=***"
