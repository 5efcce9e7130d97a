"""Several ERPs at once: each hears of its own lots, by its own worker threads, and one that is away holds up no other."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from actors.connectors.format import ConnectorInvalid
from actors.deliver import Deliverers, check_connectors
from actors.worker import Workers
from engine.clock import system_clock
from engine.decoding import decode_event
from engine.pipeline import Pipeline
from engine.rerouting import route_again
from engine.routing import load_routes
from engine.settings import SHIPPED_CONNECTORS, SHIPPED_RULES, Settings, load_settings
from rules.judge import TwoChannelJudge
from rules.rulebook import RuleBook


@pytest.fixture
def settings(tmp_path: Path, erp: Any, own_erp: Any, wms: Any) -> Settings:
    """Two ERPs that share the lots by plant, and a WMS for all of them."""
    folder = tmp_path / "connectors"
    folder.mkdir()
    shipped = yaml.safe_load((SHIPPED_CONNECTORS / "erp.yaml").read_text())
    del shipped["policy"]
    for city, code in (("berlin", "BER"), ("lyon", "LYS")):
        mine = {"name": f"erp_{city}", "kind": "erp", "base_url": f"${{url.{city}}}", "takes": [{"plant": [code]}]}
        (folder / f"erp_{city}.yaml").write_text(yaml.safe_dump(shipped | mine))
    (folder / "wms.yaml").write_text((SHIPPED_CONNECTORS / "wms.yaml").read_text())
    return load_settings({
        "LOTGATE_TARGETS": "erp_berlin, erp_lyon, wms", "LOTGATE_CONNECTORS": str(folder),
        "LOTGATE_URL_BERLIN": erp.url, "LOTGATE_URL_LYON": own_erp.url, "LOTGATE_WMS_URL": wms.url,
    })  # fmt: skip


@pytest.fixture
def pipeline(owing: Any, settings: Settings) -> Iterator[Pipeline]:
    book = RuleBook.load(SHIPPED_RULES)
    judge = TwoChannelJudge(book, channel="reference")
    running = Pipeline(owing.store, judge, book, system_clock, load_routes(settings))
    running.start()
    yield running
    running.stop()
    judge.close()


@pytest.fixture
def workers(owing: Any, settings: Settings) -> Iterator[Workers]:
    running = Workers(Deliverers(settings.target_names, settings, owing.ledger), look_seconds=0.05)
    yield running
    running.stop()


def receive(pipeline: Pipeline, lot: str, plant: str) -> None:
    data = {"item": "RING-74", "revision": "A", "quantity": {"value": "10", "unit": "ea"}, "supplier": "ACME",
            "receipt": f"GR {lot}", "plant": plant}  # fmt: skip
    event = {"specversion": "1.0", "id": lot, "source": "t", "type": "lot.received.v1", "subject": lot, "data": data}
    assert pipeline.submit(decode_event(msgspec.json.encode(event)), "t").result(20).status == 201


def eventually(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_each_erp_hears_of_its_own_lots_and_one_that_is_away_holds_up_no_other(
    owing: Any, pipeline: Pipeline, workers: Workers, erp: Any, own_erp: Any, wms: Any, lot: str
) -> None:
    berlin, lyon, prague = f"{lot}-B", f"{lot}-L", f"{lot}-P"
    erp.fault("status", status=503)
    for name, plant in ((berlin, "BER"), (lyon, "LYS"), (prague, "PRG")):
        receive(pipeline, name, plant)
    eventually(lambda: own_erp.lot(lyon) is not None and all(wms.lot(n) is not None for n in (berlin, lyon, prague)))
    assert own_erp.lot(berlin) is None
    assert own_erp.lot(prague) is None
    assert owing.ledger.counts()["erp_berlin"]
    assert owing.ledger.counts()["unrouted-erp"] == {"pending": 1}
    assert route_again(owing.store, owing.ledger, pipeline.routes) == 1
    assert owing.ledger.counts()["unrouted-erp"] == {"dead": 1}
    erp.fault("off")
    owing.make_due()
    eventually(lambda: erp.lot(berlin) is not None and "erp_berlin" not in owing.ledger.counts())
    assert erp.lot(lyon) is None


def test_a_file_that_belongs_to_another_target_is_refused(settings: Settings) -> None:
    (settings.connectors / "erp_lyon.yaml").write_text((settings.connectors / "erp_berlin.yaml").read_text())
    with pytest.raises(ConnectorInvalid, match=r"erp_lyon\.yaml: name: it says erp_berlin"):
        check_connectors(settings.target_names, settings)
