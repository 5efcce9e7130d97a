"""A whole installation with Tryton as its ERP: `lotgate up` with four workers, a line that may break, a real ERP."""

import itertools
import shutil
import time
import uuid
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import yaml

from engine.effects import STOCK
from engine.settings import SHIPPED_CONNECTORS
from tests.installation import Installation
from tests.proxy import Proxy
from tests.tryton.erp import Tryton

#: Short time-outs and rests, so that a broken line is soon tried again.
LIMITS = {"concurrency": 1, "timeout_s": 5.0}
RESTS = {"failures": 5, "open_s": 0.3, "longest_s": 0.6}
#: Where the stock of a lot lies, by the state that Lotgate decided.
ZONES = {
    state: {"quality": "QUALITY", "unrestricted": "AVAILABLE", "blocked": "BLOCKED", "issued": "CUS"}[stock]
    for state, (stock, _) in STOCK.items()
}


class Works:
    """What tests say and ask."""

    def __init__(self, folder: Path, tryton: Tryton, line: Proxy) -> None:
        self.tryton = tryton
        self.line = line
        self._numbers = itertools.count(1)
        connectors = folder / "connectors"
        connectors.mkdir()
        shutil.copy(SHIPPED_CONNECTORS / "wms.yaml", connectors)
        tree = yaml.safe_load((SHIPPED_CONNECTORS / "tryton.yaml").read_text())
        (connectors / "erp.yaml").write_text(yaml.safe_dump(tree | {"limits": LIMITS, "breaker": RESTS}))
        (folder / "home").mkdir()
        self.installation = Installation(
            folder / "home", LOTGATE_ERP_URL=line.url, LOTGATE_CONNECTORS=str(connectors),
            LOTGATE_SECRET_TRYTON=tryton.key,
        )  # fmt: skip
        self.installation.start(words=("--workers", "4"))
        self._http = self.installation.client()

    def end(self) -> None:
        self._http.close()
        self.installation.end()

    def send(self, type_: str, lot: str, data: dict[str, Any]) -> dict[str, Any]:
        event = {"specversion": "1.0", "id": uuid.uuid4().hex, "source": "test", "type": type_, "subject": lot, "data": data}
        answer = self._http.post("/v1/events", json=event, headers={"Content-Type": "application/cloudevents+json"})
        assert answer.status_code == 201, answer.text
        return dict(answer.json())

    def receive(self) -> str:
        """Goods that arrived in Tryton, and of which Lotgate is told."""
        lot = f"LOT-{next(self._numbers)}"
        self.tryton.goods_in(lot)
        self.send("lot.received.v1", lot, {
            "item": "RING-74", "revision": "A", "quantity": {"value": "100", "unit": "ea"}, "supplier": "ACME",
            "receipt": f"GR/{lot}",
        })  # fmt: skip
        return lot

    def inspect(self, lot: str, value: str = "74.000") -> None:
        lines = [{"characteristic": "diameter", "value": value, "unit": "mm", "sample": n} for n in range(1, 6)]
        self.send("inspection.recorded.v1", lot, {"inspection": f"IL-{lot}", "measurements": lines})

    def hold(self, lot: str) -> None:
        self.send("hold.applied.v1", lot, {"hold": "H-1", "reason": {"code": "COMPLAINT"}})

    def lift(self, lot: str) -> None:
        self.send("hold.lifted.v1", lot, {"hold": "H-1", "reason": {"code": "CLEARED"}})

    def stories(self, lots: list[str], at_once: int = 4) -> None:
        """Inspect all; every second one gets a hold; of every fourth the hold is lifted again."""

        def tell(number: int, lot: str) -> None:
            self.inspect(lot, "74.000" if number % 5 else "74.900")
            if number % 2:
                self.hold(lot)
            if number % 4 == 1:
                self.lift(lot)

        with ThreadPoolExecutor(at_once) as pool:
            for told in [pool.submit(tell, number, lot) for number, lot in enumerate(lots)]:
                told.result(60)

    def state(self, lot: str) -> str:
        return str(self._http.get(f"/v1/lots/{lot}").raise_for_status().json()["lot"]["state"])

    def owed(self) -> list[dict[str, Any]]:
        """Deliveries to Tryton that are not settled, or were given up."""
        found: list[dict[str, Any]] = []
        for state in ("pending", "sending", "dead"):
            page = self._http.get("/v1/deliveries", params={"state": state, "target": "erp", "limit": 100})
            found += page.raise_for_status().json()["data"]
        return found

    def agree(self, seconds: float = 40) -> None:
        """Until Tryton was told everything."""
        self.until(lambda: not self.owed(), seconds, lambda: f"still owed: {self.owed()}")

    def until(self, done: Callable[[], bool], seconds: float, words: Callable[[], str]) -> None:
        deadline = time.monotonic() + seconds
        while not done():
            assert time.monotonic() < deadline, words()
            time.sleep(0.05)

    def everything_is_where_it_must_be(self, lots: list[str]) -> None:
        """Asked of Tryton's own records: stock by zone, one document a change, nothing left open, never negative."""
        for lot in lots:
            assert self.tryton.stock(lot) == {ZONES[self.state(lot)]: 100}, lot
            documents = Counter(self.tryton.documents(lot))
            assert {state for _, state in documents} <= {"done", "cancelled"}, documents
            done = {reference: count for (reference, state), count in documents.items() if state == "done"}
            assert done
            assert set(done.values()) == {1}, documents
            assert all(reference.startswith(f"lotgate:erp:{lot}:") for reference in done), documents
        assert self.tryton.ever_negative(lots) == []
