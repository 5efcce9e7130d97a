"""Contract servers in processes of their own, the shipped connector files, and a line that may break."""

import itertools
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from actors.connectors.format import Connector, load
from actors.connectors.http import Exchange
from actors.connectors.protocols import reader_of, target_of
from engine.effects import StockStatus
from engine.ledger import Delivery
from engine.settings import SHIPPED_CONNECTORS, load_settings
from tests.proxy import Proxy

ROOT = Path(__file__).resolve().parents[2]
#: Canonical stock status: lot state, and whether it may be allocated.
STATES = {
    "quality": ("quarantined", False), "unrestricted": ("released", True), "restricted": ("released", True),
    "blocked": ("blocked", False), "issued": ("shipped", False), "none": ("blocked", False),
}  # fmt: skip
#: Every shipped file: its contract server, its secrets.
FILES: dict[str, tuple[str, dict[str, str]]] = {
    "inventree": ("inventree", {"inventree_user": "lotgate", "inventree_password": "pa:ss wörd"}),
    "odoo": ("odoo", {"odoo": "odoo-api-key-secret"}),
    "odoo_json2": ("odoo", {"odoo": "odoo-api-key-secret"}),
    "erpnext": ("erpnext", {"erpnext": "k3y-of-lotgate:s3cret-of-lotgate"}),
    "sap_batch_status": ("sap", {"sap_user": "LOTGATE", "sap_password": "s4-secret"}),
    "sap_goods_movement": ("sap", {"sap_user": "LOTGATE", "sap_password": "s4-secret"}),
    "sap_usage_decision": ("sap", {"sap_user": "LOTGATE", "sap_password": "s4-secret"}),
}
ITEM = "RING-74"
_numbers = itertools.count(1)


class Wire:
    """A contract server, the line to it, and the target that a shipped file makes of it."""

    def __init__(self, file: str, address: str, secrets: dict[str, str] | None = None) -> None:
        self.file = file
        self.secrets = FILES[file][1] if secrets is None else secrets
        self.address = address
        self.line = Proxy(address)
        self.connector = self.load(self.line.url)
        self.target = target_of(self.connector)
        self._http = httpx.Client(base_url=address, trust_env=False, timeout=5)

    def load(self, address: str) -> Connector:
        said = {f"LOTGATE_SECRET_{name.upper()}": value for name, value in self.secrets.items()}
        settings = load_settings({"LOTGATE_ERP_URL": address, "LOTGATE_WMS_URL": address, **said})
        return load(SHIPPED_CONNECTORS / f"{self.file}.yaml", settings)

    def close(self) -> None:
        self.target.stop()
        self.target.close()
        self.line.close()
        self._http.close()

    def door(self, verb: str = "", **given: Any) -> Any:
        """What somebody does by hand there; gives what the system has then."""
        answer = self._http.post(f"/_/{verb}", json=given)
        answer.raise_for_status()
        return answer.json()

    def new_lot(self, quantity: float = 100, **more: Any) -> str:
        lot = f"LOT/{next(_numbers)} ä'"
        if self.file == "inventree":
            self.door("receive", batch=lot, IPN=ITEM, quantity=quantity, **more)
        else:
            self.door("receive", lot=lot, item=ITEM, quantity=quantity, **more)
        return lot

    def tell(self, lot: str, stock: str, version: int, quantity: str = "100") -> Exchange:
        found = self.target.deliver([Delivery(version, lot, version, self.connector.name,
                                              status(lot, stock, version, quantity), 1, 1, "2026-11-27T08:00:00Z")])
        return found[0]  # fmt: skip

    def reads(self, lot: str, stock: str, quantity: str = "100") -> dict[str, Any] | None:
        """What the reconciler reads."""
        from actors.connectors.format import values

        assert self.connector.read_back is not None
        reader = reader_of(self.connector, self.connector.read_back)
        try:
            found = reader.one(values(self.connector, status(lot, stock, 1, quantity), ""))
        finally:
            reader.close()
        return None if found is None else dict(found)


def status(lot: str, stock: str, version: int, quantity: str = "100") -> StockStatus:
    state, allocatable = STATES[stock]
    return StockStatus(lot, version, ITEM, "A", state, stock, allocatable, quantity, "ea", None, None, [], [])


@pytest.fixture(scope="module")
def servers() -> Iterator[Callable[[str], str]]:
    """The address of a contract server, started when it is asked for."""
    running: dict[str, tuple[subprocess.Popen[str], str]] = {}

    def at(name: str) -> str:
        if name not in running:
            command = [sys.executable, "-m", f"tests.contracts.{name}"]
            process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
            assert process.stdout is not None
            line = process.stdout.readline()
            assert " on http://" in line, f"{name} did not start: {line!r}"
            running[name] = (process, line.split(" on ")[1].strip())
        return running[name][1]

    yield at
    for process, _ in running.values():
        process.kill()
        process.wait(5)


@pytest.fixture
def wire(servers: Callable[[str], str]) -> Iterator[Callable[..., Wire]]:
    """The target of a shipped file, with its contract server at the other end."""
    made: list[Wire] = []

    def of(file: str, secrets: dict[str, str] | None = None) -> Wire:
        made.append(Wire(file, servers(FILES[file][0]), secrets))
        return made[-1]

    yield of
    for one in made:
        one.close()
