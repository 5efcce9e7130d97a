"""Reference data, scorecards, charts and limits over HTTP."""

import json
from typing import Any

import pytest

PLAN = {
    "item": "TEN-POINT", "supplier": "QUALITY-HTTP", "sampling": {"aql": "0.65"},
    "characteristics": [{"characteristic": "c01", "unit": "mm", "lower": "9.9", "upper": "10.1"}],
}  # fmt: skip


def put(service: Any, key: str, content: Any, since: str = "2026-01-01", kind: str = "inspection-plan", **params: str) -> Any:
    body = {"effective_from": since, "content": content}
    return service.http.put(f"/v1/reference/{kind}/{key}", json=body, params=params)


def test_a_plan_is_kept_shown_and_assigned(service: Any, receipt: Any) -> None:
    tried = put(service, "IP-HTTP", PLAN, dry_run="yes")
    assert (tried.status_code, tried.json()["outcome"]) == (200, "checked")
    assert service.http.get("/v1/reference/inspection-plan/IP-HTTP").status_code == 404
    made = put(service, "IP-HTTP", PLAN)
    assert (made.status_code, made.json()["outcome"]) == (201, "created")
    assert put(service, "IP-HTTP", PLAN).json()["outcome"] == "unchanged"
    (shown,) = service.http.get("/v1/reference/inspection-plan/IP-HTTP").json()["data"]
    assert shown["content"]["characteristics"][0]["lower"] == "9.9"
    assert shown["recorded_by"] == "admin"
    listed = service.http.get("/v1/reference/inspection-plan", params={"item": "TEN-POINT"}).json()["data"]
    assert "IP-HTTP" in [record["key"] for record in listed]
    before = service.http.get("/v1/reference/inspection-plan", params={"on": "2025-12-31"}).json()["data"]
    assert "IP-HTTP" not in [record["key"] for record in before]
    event = receipt()
    event["data"] |= {"item": "TEN-POINT", "supplier": "QUALITY-HTTP"}
    assert service.submit(event).status_code == 201
    lot = service.http.get(f"/v1/lots/{event['subject']}").json()["lot"]
    assert lot["plan"]["plan"] == "IP-HTTP"
    conflict = put(service, "IP-OTHER", PLAN)
    assert conflict.status_code == 409
    assert conflict.json()["type"] == "/problems/reference-conflict"


def test_pages_of_records_go_on_where_the_last_ended(service: Any) -> None:
    for number in range(3):
        content = {"kind": "lot", "item": f"PAGED-{number}", "fields": {}}
        assert put(service, f"PAGED-{number}", content, kind="fact").status_code == 201
    found: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page = service.http.get("/v1/reference/fact", params={"limit": "1"} | cursor).json()
        found += [record["key"] for record in page["data"]]
        if page["next"] is None:
            break
        cursor = {"cursor": page["next"]}
    assert [key for key in found if key.startswith("PAGED-")] == ["PAGED-0", "PAGED-1", "PAGED-2"]


def test_every_line_of_an_import_is_answered_for(service: Any) -> None:
    lines = [
        {"key": "IMP-1", "effective_from": "2026-01-01", "content": PLAN | {"supplier": "IMP-1"}},
        {"key": "IMP-1", "effective_from": "2026-01-01", "content": PLAN | {"supplier": "IMP-1"}},
        {"key": "IMP-2", "effective_from": "soon", "content": PLAN},
        {"key": "IMP-3", "effective_from": "2026-01-01", "content": PLAN | {"sampling": {"aql": "77"}}},
    ]
    text = "\n".join([*map(json.dumps, lines), "{", ""])
    headers = {"Content-Type": "application/x-ndjson"}
    answer = service.http.post("/v1/reference/inspection-plan/import", content=text, headers=headers)
    assert answer.status_code == 200
    found = answer.json()
    assert (found["created"], found["unchanged"], found["refused"]) == (1, 1, 3)
    assert [line["outcome"] for line in found["lines"]] == ["created", "unchanged", "refused", "refused", "refused"]
    assert found["lines"][3]["pointer"] == "/content/sampling"
    assert "0.010, 0.015" in found["lines"][3]["detail"]
    wrong = service.http.post("/v1/reference/inspection-plan/import", content="{}", headers={"Content-Type": "text/plain"})
    assert wrong.status_code == 415
    assert service.http.post("/v1/reference/colour/import", content="{}", headers=headers).status_code == 404


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"effective_from": "2026-01-01", "content": PLAN | {"item": ""}}, 422),
        ({"effective_from": "2026-01-01"}, 422),
        ({"effective_from": "2026-02-01", "effective_until": "2026-01-01", "content": PLAN}, 422),
        ({"effective_from": "2026-01-01", "content": None}, 404),
        ([], 422),
    ],
)
def test_records_that_do_not_fit_are_refused(service: Any, body: Any, status: int) -> None:
    answer = service.http.put("/v1/reference/inspection-plan/WRONG", json=body)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"


def test_charts_and_limits_are_of_what_was_inspected(service: Any) -> None:
    assert service.http.get("/v1/quality/charts").status_code == 400
    empty = service.http.get("/v1/quality/charts", params={"item": "NEVER-WAS"})
    assert (empty.status_code, empty.json()["data"]) == (200, [])
    limits = {"item": "NEVER-WAS", "characteristic": "c01", "centre": 10.0, "sigma": 0.1}
    assert service.http.post("/v1/quality/limits", json=limits).status_code == 404
    assert service.http.post("/v1/quality/limits", json=limits | {"colour": "red"}).status_code == 422
    assert isinstance(service.http.get("/v1/quality/scorecards").json()["data"], list)
    own = service.http.get("/v1/quality/scorecards?supplier=")
    assert (own.status_code, {line["supplier"] for line in own.json()["data"]} - {""}) == (200, set())
    assert service.http.get("/v1/quality/scorecards?item=").status_code == 400


def test_an_order_of_sampling_is_taken(service: Any) -> None:
    order = {"item": "TEN-POINT", "supplier": "ORDERED", "severity": "tightened", "reason": "8D report"}
    answer = service.http.post("/v1/quality/sampling", json=order)
    assert (answer.status_code, answer.json()["ordered_by"]) == (202, "admin")
    assert service.http.post("/v1/quality/sampling", json=order | {"severity": "harsh"}).status_code == 422


def test_a_lot_says_how_hard_it_is_inspected_and_why(service: Any) -> None:
    """At the API and on its page: severity, skip-lot, and the plan by variables with what it estimated."""
    plan = {
        "effective_from": "2026-01-01",
        "content": {
            "item": "TEN-POINT", "supplier": "WHY-CO", "characteristics": [
                {"characteristic": "c01", "unit": "mm", "lower": "9.9", "upper": "10.1", "sample_size": 2},
            ], "sampling": {"aql": "1.0", "skip_lot": {"score": 20}},
        },
    }  # fmt: skip
    assert service.http.put("/v1/reference/inspection-plan/WHY", json=plan).status_code == 201
    by_variables = {
        "effective_from": "2026-01-01",
        "content": {"item": "TEN-POINT", "supplier": "WHY-VAR", "characteristics": [
            {"characteristic": "c01", "unit": "mm", "lower": "9.9", "variables": {"aql": "1.0"}}]},
    }  # fmt: skip
    assert service.http.put("/v1/reference/inspection-plan/WHY-VAR", json=by_variables).status_code == 201
    data = {"item": "TEN-POINT", "revision": "A", "quantity": {"value": "40", "unit": "ea"}}
    for lot, supplier in (("WHY-1", "WHY-CO"), ("WHY-2", "WHY-VAR")):
        event = {"specversion": "1.0", "id": f"e-{lot}", "source": "test/why", "type": "lot.received.v1", "subject": lot,
                 "data": data | {"supplier": supplier, "receipt": f"R-{lot}"}}  # fmt: skip
        answer = service.http.post("/v1/events", json=event, headers={"Content-Type": "application/cloudevents+json"})
        assert answer.status_code == 201, answer.text
    found = service.http.get("/v1/lots/WHY-1").json()["lot"]["plan"]
    assert found["why"] == "normal inspection: nothing has changed it since the first lot"
    assert (found["skip"]["state"], found["skip"]["skipped"]) == ("lot_by_lot", False)
    assert 0 <= float(found["skip"]["drawn"]) < 1
    page = service.http.get("/console/lots/WHY-1").text
    assert "normal inspection: nothing has changed it since the first lot" in page
    second = service.http.get("/v1/lots/WHY-2").json()["lot"]["plan"]
    assert (second["variables"][0]["m_lower"], second["variables"][0]["sample_size"]) == ("3.33", 5)
    page = service.http.get("/console/lots/WHY-2").text
    assert "at most 3.33 % beyond the limits" in page


def test_a_certificate_is_recorded_and_shown_beside_our_results(service: Any, receipt: Any) -> None:
    event = receipt()
    event["data"] |= {"supplier_lot": "HEAT-HTTP"}
    assert service.submit(event).status_code == 201
    lot = event["subject"]
    data = {"certificate": "CoA-H", "kind": "coa", "issuer": "LAB", "supplier_lot": "HEAT-HTTP", "issued_on": "2026-01-01",
            "values": [{"characteristic": "diameter", "value": "74.001", "unit": "mm"}]}  # fmt: skip

    def said(number: int, **more: Any) -> Any:
        path = f"/v1/lots/{lot}/record-certificate"
        return service.http.post(path, json=data | more, headers={"Idempotency-Key": f"{lot}-{number}"})

    refused = said(1, supplier_lot="HEAT-OTHER")
    assert (refused.status_code, refused.json()["rules"][0]["rule"]) == (409, "CERTIFICATE-OF-LOT")
    assert said(2).status_code == 201
    found = service.http.get(f"/v1/lots/{lot}/certificates").json()
    assert [one["number"] for one in found["data"]] == ["CoA-H"]
    assert found["values"][0]["value"] == "74.001"
    assert service.http.get("/v1/lots/NEVER-WAS/certificates").status_code == 404


def test_shelf_life_follows_from_reference_data(service: Any, receipt: Any) -> None:
    rule = {"item": "RING-74", "supplier": "SL-HTTP", "counts_from": "manufacture", "days": 10}
    assert put(service, "SL-HTTP", rule, kind="shelf-life").status_code == 201
    event = receipt()
    event["data"] |= {"supplier": "SL-HTTP", "manufactured_on": "2026-01-05"}
    assert service.submit(event).status_code == 201
    lot = service.http.get(f"/v1/lots/{event['subject']}").json()["lot"]
    assert (lot["expires_on"], lot["expires_by"]) == ("2026-01-15", "SL-HTTP@1: 10 days from manufacture on 2026-01-05")
    assert put(service, "SL-HTTP-2", rule, kind="shelf-life").status_code == 409
