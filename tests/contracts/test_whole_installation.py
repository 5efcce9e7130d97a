"""`lotgate up` with Odoo as its ERP and InvenTree as its WMS, four workers, and lines that lose everything once."""

import json
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from engine.effects import STOCK
from engine.settings import SHIPPED_CONNECTORS
from tests.contracts.conftest import FILES, ITEM
from tests.installation import Installation
from tests.proxy import Proxy, each_once

#: Short time-outs and rests, so that a broken line is soon tried again.
BRISK: dict[str, Any] = {
    "limits": {"concurrency": 1, "timeout_s": 5.0, "settle_s": 0.2},
    "breaker": {"failures": 5, "open_s": 0.3, "longest_s": 0.6},
}
WORDS = {"quality": "WH/Stock/Quality", "unrestricted": "WH/Stock", "blocked": "WH/Stock/Blocked"}
CODES = {"quality": 75, "unrestricted": 10, "blocked": 65}


class Works:
    """What tests say and ask."""

    def __init__(self, folder: Path, odoo: str, inventree: str) -> None:
        self.lines = {"erp": Proxy(odoo), "wms": Proxy(inventree)}
        self.doors = {"erp": odoo, "wms": inventree}
        connectors = folder / "connectors"
        connectors.mkdir(parents=True)
        for target, file in (("erp", "odoo_json2"), ("wms", "inventree")):
            tree = yaml.safe_load((SHIPPED_CONNECTORS / f"{file}.yaml").read_text())
            (connectors / f"{target}.yaml").write_text(yaml.safe_dump(tree | BRISK))
        (folder / "home").mkdir()
        secrets = {**FILES["odoo"][1], **FILES["inventree"][1]}
        self.installation = Installation(
            folder / "home", LOTGATE_ERP_URL=self.lines["erp"].url, LOTGATE_WMS_URL=self.lines["wms"].url,
            LOTGATE_CONNECTORS=str(connectors),
            **{f"LOTGATE_SECRET_{name.upper()}": value for name, value in secrets.items()},
        )  # fmt: skip
        self.installation.start(words=("--workers", "2"))
        self.http = self.installation.client()

    def end(self) -> None:
        self.http.close()
        self.installation.end()
        for line in self.lines.values():
            line.close()

    def door(self, target: str, verb: str = "", **given: Any) -> Any:
        return httpx.post(f"{self.doors[target]}/_/{verb}", json=given, trust_env=False).raise_for_status().json()

    def send(self, type_: str, lot: str, data: dict[str, Any]) -> None:
        event = {"specversion": "1.0", "id": uuid.uuid4().hex, "source": "test", "type": type_, "subject": lot, "data": data}
        answer = self.http.post("/v1/events", json=event, headers={"Content-Type": "application/cloudevents+json"})
        assert answer.status_code == 201, answer.text

    def receive(self) -> str:
        lot = f"LOT-{uuid.uuid4().hex[:6]}"
        self.door("erp", "receive", lot=lot, item=ITEM, quantity=100)
        self.door("wms", "receive", batch=lot, IPN=ITEM, quantity=100)
        quantity = {"value": "100", "unit": "ea"}
        self.send("lot.received.v1", lot, {"item": ITEM, "revision": "A", "quantity": quantity, "supplier": "ACME", "receipt": lot})
        return lot

    def inspect(self, lot: str) -> None:
        lines = [{"characteristic": "diameter", "value": "74.000", "unit": "mm", "sample": n} for n in range(1, 6)]
        self.send("inspection.recorded.v1", lot, {"inspection": f"IL-{lot}", "measurements": lines})

    def owed(self) -> list[Any]:
        found: list[Any] = []
        for state in ("pending", "sending", "dead"):
            found += self.http.get("/v1/deliveries", params={"state": state, "limit": 100}).raise_for_status().json()["data"]
        return found

    def agree(self) -> None:
        deadline = time.monotonic() + 60
        while owed := self.owed():
            assert time.monotonic() < deadline, f"still owed: {owed[:3]}"
            time.sleep(0.05)

    def everything_is_where_it_must_be(self, lots: list[str]) -> None:
        erp, wms = self.door("erp"), self.door("wms")
        for lot in lots:
            stock = STOCK[self.http.get(f"/v1/lots/{lot}").json()["lot"]["state"]][0]
            quants = [(q["location_id"][1], q["quantity"]) for q in erp["quants"] if q["lot_id"][1] == lot]
            assert quants == [(WORDS[stock], 100)], lot
            assert [i["status"] for i in wms["items"] if i["batch"] == lot] == [CODES[stock]], lot
            mine = [p for p in erp["pickings"] if p["origin"].startswith(f"lotgate:erp:{lot}:")]
            assert {p["state"] for p in mine} <= {"done", "cancel"}, mine
            done = [p["origin"] for p in mine if p["state"] == "done"]
            assert len(done) == len(set(done)), "one transfer a change"


@pytest.fixture(scope="module")
def works(tmp_path_factory: pytest.TempPathFactory, servers: Callable[[str], str]) -> Iterator[Works]:
    running = Works(tmp_path_factory.mktemp("works"), servers("odoo"), servers("inventree"))
    yield running
    running.end()


def test_every_kind_of_request_and_of_answer_is_lost_once_and_everything_agrees(works: Works) -> None:
    for line in works.lines.values():
        line.count_anew(each_once)
    lots = [works.receive() for _ in range(6)]
    for number, lot in enumerate(lots):
        works.inspect(lot)
        if number % 2:
            works.send("hold.applied.v1", lot, {"hold": "H-1", "reason": {"code": "COMPLAINT"}})
    works.agree()
    works.everything_is_where_it_must_be(lots)
    for target, kind in (
        ("erp", "POST /json/stock.picking/create"), ("erp", "POST /json/stock.picking/button_validate"),
        ("wms", "GET /api/user/token/"), ("wms", "POST /api/stock/change_status/"),
    ):  # fmt: skip
        assert {(kind, "request"), (kind, "answer")} <= set(works.lines[target].lost), works.lines[target].lost


def test_a_command_reads_and_says_what_would_be_done_and_sends_nothing(works: Works) -> None:
    for line in works.lines.values():
        line.count_anew()
    lot = works.receive()
    works.agree()
    before = works.door("erp")["pickings"], works.door("wms")["track"]
    done = works.installation.run("connectors", "check", lot)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "erp: agrees; nothing would be sent\n    observed: WH/Stock/Quality\n" in done.stdout
    assert "wms: agrees; nothing would be sent\n    observed: 75\n" in done.stdout
    quant = next(q for q in works.door("erp")["quants"] if q["lot_id"][1] == lot)
    assert quant["location_id"][1] == "WH/Stock/Quality"
    item = next(i for i in works.door("wms")["items"] if i["batch"] == lot)
    works.door("wms", "change", pk=item["pk"], status=10)
    lines = json.loads(works.installation.run("connectors", "check", lot, "--json").stdout)
    assert [(line["target"], line["then"]) for line in lines] == [
        ("erp", "agrees; nothing would be sent"), ("wms", "would be told 75"),
    ]  # fmt: skip
    assert (works.door("erp")["pickings"], works.door("wms")["track"]) == before
    tried = works.installation.run("connectors", "try", lot)
    assert "wms steps.apply[0]: POST " in tried.stdout
    assert "/api/stock/change_status/\n" in tried.stdout
    assert "    items: ${items.map(i, i.pk)}\n" in tried.stdout
    assert (works.door("erp")["pickings"], works.door("wms")["track"]) == before


def test_what_somebody_changed_by_hand_and_what_left_is_found_and_said(works: Works) -> None:
    changed, left = works.receive(), works.receive()
    works.agree()
    for lot, change in ((changed, {"verb": "change", "status": 10}), (left, {"verb": "ship", "quantity": 40})):
        item = next(i for i in works.door("wms")["items"] if i["batch"] == lot)
        works.door("wms", pk=item["pk"], **change)  # type: ignore[arg-type]
    done = works.installation.run("reconcile", "wms", "--json")
    assert done.returncode in (0, 1), done.stderr
    found = {line["lot"]: line["kind"] for line in json.loads(done.stdout)["drift"] if line["lot"] in (changed, left)}
    assert found == {changed: "changed-by-hand", left: "left-while-blocked"}
