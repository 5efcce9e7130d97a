"""The real sandbox WMS is told whether an order may leave."""

from typing import Any
from urllib.parse import quote

import pytest

from tests.actors.test_delivering import deliver_until


@pytest.mark.parametrize("order", ["SO-1", "SO 7/ü%"])
def test_the_newest_signal_stands_at_the_warehouse_whatever_comes_late(owing: Any, wms: Any, deliverer: Any, order: str) -> None:
    one = deliverer("http://unused.invalid", "wms_orders", base_url=wms.url)
    ledger_name = f"order:{order}"
    owing.owe(ledger_name, 1, "wms_orders", lot=order, state="ready", stock="unrestricted")
    one.run()
    at_wms = f"/orders/{quote(order, safe='')}"
    assert wms.http.get(at_wms).json()["signal"] == "RELEASE"
    owing.owe(ledger_name, 2, "wms_orders", lot=order, state="not_ready", stock="blocked", reasons=["RELEASED: it is blocked"])
    wms.fault("lost_answer", count=1)
    one.run()
    owing.make_due()
    deliver_until(one, lambda: owing.line(ledger_name, 2, "wms_orders").state == "delivered")
    shown = wms.http.get(at_wms).json()
    assert (shown["number"], shown["signal"], shown["reasons"]) == (2, "BLOCK", ["RELEASED: it is blocked"])
    late = wms.http.put(f"{at_wms}/signal", headers={"X-Request-Id": "late"},
                        json={"number": 1, "signal": "RELEASE", "readiness": "ready", "reasons": []})  # fmt: skip
    assert (late.status_code, late.json()["error"]) == (409, "outdated")
