"""Tryton 8.2, an ERP that others wrote: installed from its lock into an environment of its own, run as a process.

``python -m tests.tryton.erp`` installs it and makes an empty database, once; every server gets a copy of that.
"""

import base64
import contextlib
import fcntl
import hashlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import venv
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import httpx

LOCK = Path(__file__).with_name("requirements.lock")
#: Beside the packages of this environment, and gone with them.
CACHE = Path(sys.prefix) / "tryton"
DATABASE = "erp"
PASSWORD = "admin-of-the-tests"
ZONES = ("QUALITY", "AVAILABLE", "RESTRICTED", "BLOCKED")
_CONFIGURATION = "[database]\nuri = sqlite://\npath = {path}\n[web]\nlisten = 127.0.0.1:{port}\n"


def prepared() -> Path:
    """The directory of an environment with Tryton and an empty database; makes it when there is none."""
    CACHE.mkdir(exist_ok=True)
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    digest = hashlib.sha256(LOCK.read_bytes() + version.encode()).hexdigest()[:16]
    there = CACHE / digest
    with (CACHE / "lock").open("w") as lock:
        # Others may test at the same time.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (there / "empty" / "erp.sqlite").exists():
            print("Installing Tryton, an ERP for the tests (about half a minute the first time) ...", flush=True)
            shutil.rmtree(there, ignore_errors=True)
            _install(there)
            _new_database(there)
    return there


def _install(there: Path) -> None:
    venv.create(there, with_pip=True)
    pip = [str(there / "bin" / "python"), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    _run([*pip, "--require-hashes", "-r", str(LOCK)])


def _new_database(there: Path) -> None:
    """The modules' tables and first records: what takes long."""
    making = there / "making"
    making.mkdir()
    (making / "erp.sqlite").touch()
    (making / "password").write_text(PASSWORD)
    (making / "trytond.conf").write_text(_CONFIGURATION.format(path=making, port=1))
    admin = [str(there / "bin" / "trytond-admin"), "-c", str(making / "trytond.conf"), "-d", DATABASE]
    _run([*admin, "-u", "ir", "res", "stock_lot", "--activate-dependencies", "--email", "admin@example.invalid", "-p"],
         TRYTONPASSFILE=str(making / "password"))  # fmt: skip
    making.rename(there / "empty")


def _run(command: list[str], **environment: str) -> None:
    done = subprocess.run(
        command, env=_environment(**environment), capture_output=True, text=True, timeout=600, check=False
    )
    if done.returncode != 0:
        raise AssertionError(f"{' '.join(command)} ended with {done.returncode}:\n{(done.stdout + done.stderr)[-3000:]}")


def _environment(**more: str) -> dict[str, str]:
    """Nothing of this Python's own reaches the other."""
    kept = {n: v for n, v in os.environ.items() if n not in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")}
    return kept | more


class Tryton:
    """One server process with its own database, and the words that a clerk of the ERP would use."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._there = prepared()
        shutil.copy(self._there / "empty" / "erp.sqlite", folder / "erp.sqlite")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self.url = f"http://127.0.0.1:{self.port}/{DATABASE}"
        (folder / "trytond.conf").write_text(_CONFIGURATION.format(path=folder, port=self.port))
        self._process: subprocess.Popen[bytes] | None = None
        self._sessions = threading.local()
        self._authorization = ""
        self._company: int | None = None
        self._locations: dict[str, int] = {}
        self._products: dict[str, int] = {}
        #: What a program sends: a user application key of the REST interface.
        self.key = ""

    # -- the process -------------------------------------------------------------------------------------------

    def start(self, seconds: float = 30) -> None:
        with (self.folder / "trytond.log").open("ab") as log:
            self._process = subprocess.Popen(
                [str(self._there / "bin" / "trytond"), "-c", str(self.folder / "trytond.conf"), "-d", DATABASE],
                cwd=self.folder, env=_environment(), stdout=log, stderr=log,
            )  # fmt: skip
        deadline = time.monotonic() + seconds
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"Tryton did not start:\n{self.log[-3000:]}")
            time.sleep(0.05)

    def _answers(self) -> bool:
        with contextlib.suppress(httpx.TransportError):
            return httpx.get(f"{self.url}/rest/model/party.party", timeout=5, trust_env=False).status_code == 401
        return False

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        assert self._process is not None
        self._process.send_signal(number)
        self._process.wait(10)

    def end(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self.kill()

    @property
    def log(self) -> str:
        return (self.folder / "trytond.log").read_text(errors="replace")

    # -- its remote procedures ---------------------------------------------------------------------------------

    def call(self, method: str, *parameters: Any, **context: Any) -> Any:
        """One procedure of a model, as the administrator: ``stock.lot.create``."""
        if not hasattr(self._sessions, "http"):
            self._sessions.http = httpx.Client(base_url=self.url, timeout=60, trust_env=False)
        about = {"company": self._company, **context} if self._company else context
        answer = self._sessions.http.post(
            "/rpc/", json={"method": f"model.{method}", "params": [*parameters, about]}, headers=self._logged_in()
        )
        assert answer.status_code == 200, f"{method} {parameters}: {answer.status_code} {answer.text}"
        return answer.json()

    def _logged_in(self) -> dict[str, str]:
        if not self._authorization:
            login = {"id": 1, "method": "common.db.login", "params": ["admin", {"password": PASSWORD}, "en"]}
            user, token, *_ = httpx.post(f"{self.url}/rpc/", json=login, timeout=60, trust_env=False).json()["result"]
            self._authorization = "Session " + base64.b64encode(f"admin:{user}:{token}".encode()).decode()
        return {"Authorization": self._authorization}

    def find(self, model: str, domain: list[Any], *fields: str, **context: Any) -> list[dict[str, Any]]:
        """Records, oldest first."""
        return list(self.call(f"{model}.search_read", domain, 0, None, [["id", "ASC"]], list(fields), **context))

    # -- the plant ---------------------------------------------------------------------------------------------

    def settle_in(self) -> None:
        """A company, a customer, a supplier, the four zones below the storage zone, and a key for programs."""
        party = self.call("party.party.create", [{"name": "Works"}])[0]
        rate = {"date": _date(2020, 1, 1), "rate": _decimal("1")}
        euro = {"name": "Euro", "code": "EUR", "symbol": "€", "rounding": _decimal("0.01"), "digits": 2}
        self._currency = self.call("currency.currency.create", [{**euro, "rates": [["create", [rate]]]}])[0]
        company = self.call("company.company.create", [{"party": party, "currency": self._currency}])[0]
        admin = self.find("res.user", [["login", "=", "admin"]])[0]["id"]
        self.call("res.user.write", [admin], {"companies": [["add", [company]]], "company": company})
        self._company = company
        places = self.find("stock.location", [], "code", "type")
        self._locations = {str(place["code"]): place["id"] for place in places}
        for zone in ZONES:
            place = {"name": zone.capitalize(), "code": zone, "type": "storage", "parent": self._locations["STO"]}
            self._locations[zone] = self.call("stock.location.create", [place])[0]
        self.call("stock.location.write", [self._locations["WH"]], {"picking_location": self._locations["AVAILABLE"]})
        self._supplier, self._customer = (
            self.call("party.party.create", [{"name": name, "addresses": [["create", [{}]]]}])[0]
            for name in ("ACME", "Customer")
        )
        self._address = self.find("party.address", [["party", "=", self._customer]])[0]["id"]
        self._unit = self.find("product.uom", [["symbol", "=", "u"]])[0]["id"]
        self.key = self.new_key()

    def new_key(self) -> str:
        """A key for a program, in force at once, of a user who may do nothing but move stock."""
        if not self.find("res.user", [["login", "=", "lotgate"]]):
            groups = [group["id"] for group in self.find("res.group", [["name", "=", "Stock"]])]
            rights = {"groups": [["add", groups]], "companies": [["add", [self._company]]], "company": self._company}
            self.call("res.user.create", [{"name": "Lotgate", "login": "lotgate", **rights}])
        user = self.find("res.user", [["login", "=", "lotgate"]])[0]["id"]
        made = self.call("res.user.application.create", [{"user": user, "application": "rest"}])
        return str(self.call("res.user.application.read", made, ["key"])[0]["key"])

    def grant_keys(self) -> None:
        """Validate every key that a program has asked for."""
        asked = self.find("res.user.application", [["state", "=", "requested"]])
        self.call("res.user.application.validate_", [found["id"] for found in asked])

    def product(self, code: str) -> int:
        if code not in self._products:
            lots = ["supplier", "customer", "storage"]
            template = {"name": code, "type": "goods", "default_uom": self._unit, "lot_required": lots}
            made = self.call("product.template.create", [{**template, "products": [["create", [{"suffix_code": code}]]]}])
            self._products[code] = self.find("product.product", [["template", "in", made]])[0]["id"]
        return self._products[code]

    def goods_in(self, lot: str, quantity: float = 100, product: str = "RING-74", put_away: bool = True) -> None:
        """A supplier's shipment with one lot; ``put_away``: brought from the input zone to the storage zone."""
        made = self.call("stock.lot.create", [{"number": lot, "product": self.product(product)}])[0]
        moves = [self._move(made, product, quantity, "SUP", "IN", priced=True)]
        shipment = self.call("stock.shipment.in.create", [{
            "company": self._company, "supplier": self._supplier, "reference": f"GR/{lot}",
            "warehouse": self._locations["WH"], "warehouse_input": self._locations["IN"],
            "warehouse_storage": self._locations["STO"], "incoming_moves": [["create", moves]],
        }])  # fmt: skip
        self.call("stock.shipment.in.receive", shipment)
        if put_away:
            self.call("stock.shipment.in.do", shipment)

    def put_away(self, lot: str) -> None:
        """Bring from the input zone to the storage zone what was left there."""
        received = [["reference", "=", f"GR/{lot}"], ["state", "=", "received"]]
        self.call("stock.shipment.in.do", [found["id"] for found in self.find("stock.shipment.in", received)])

    def order(self, lot: str, quantity: float, product: str = "RING-74") -> int:
        """A customer's shipment that waits for stock."""
        move = self._move(self._lot(lot), product, quantity, "OUT", "CUS", priced=True)
        shipment = self.call("stock.shipment.out.create", [{
            "company": self._company, "customer": self._customer, "delivery_address": self._address,
            "warehouse": self._locations["WH"], "warehouse_output": self._locations["OUT"],
            "warehouse_storage": self._locations["AVAILABLE"], "outgoing_moves": [["create", [move]]],
        }])  # fmt: skip
        self.call("stock.shipment.out.wait", shipment)
        return int(shipment[0])

    def assign(self, shipment: int) -> str:
        """Try to reserve stock for a customer's shipment; gives its state."""
        self.call("stock.shipment.out.assign_try", [shipment])
        return str(self.call("stock.shipment.out.read", [shipment], ["state"])[0]["state"])

    def ship(self, shipment: int) -> None:
        """Pick, pack and send what is assigned."""
        for step in ("pick", "pack", "do"):
            self.call(f"stock.shipment.out.{step}", [shipment])

    def pick(self, shipment: int) -> None:
        self.call("stock.shipment.out.pick", [shipment])

    def goods_back(self, lot: str, quantity: float, product: str = "RING-74") -> None:
        """A customer sends goods back; they are put into the storage zone."""
        move = self._move(self._lot(lot), product, quantity, "CUS", "IN", priced=True)
        shipment = self.call("stock.shipment.out.return.create", [{
            "company": self._company, "customer": self._customer, "contact_address": self._address,
            "warehouse": self._locations["WH"], "warehouse_input": self._locations["IN"],
            "warehouse_storage": self._locations["STO"], "incoming_moves": [["create", [move]]],
        }])  # fmt: skip
        for step in ("receive", "do"):
            self.call(f"stock.shipment.out.return.{step}", shipment)

    def goods_elsewhere(self, lot: str, quantity: float, source: str, to: str, product: str = "RING-74") -> None:
        """Somebody of the warehouse carries goods from one zone to another."""
        shipment = self.call("stock.shipment.internal.create", [{
            "company": self._company, "from_location": self._locations[source], "to_location": self._locations[to],
            "moves": [["create", [self._move(self._lot(lot), product, quantity, source, to)]]],
        }])  # fmt: skip
        for step in ("wait", "assign_force", "do"):
            self.call(f"stock.shipment.internal.{step}", shipment)

    def goods_gone(self, lot: str, zone: str, product: str = "RING-74") -> None:
        """Somebody counts a zone, and nothing of the lot is there any more."""
        counted = {"product": self.product(product), "lot": self._lot(lot), "quantity": 0}
        inventory = self.call("stock.inventory.create", [{
            "company": self._company, "location": self._locations[zone], "lines": [["create", [counted]]],
        }])  # fmt: skip
        self.call("stock.inventory.confirm", inventory)

    def _move(
        self, lot: int, product: str, quantity: float, source: str, to: str, priced: bool = False
    ) -> dict[str, Any]:
        move = {
            "product": self.product(product), "lot": lot, "quantity": quantity, "unit": self._unit,
            "from_location": self._locations[source], "to_location": self._locations[to], "company": self._company,
        }  # fmt: skip
        return {**move, "unit_price": _decimal("1"), "currency": self._currency} if priced else move

    def _lot(self, number: str) -> int:
        return int(self.find("stock.lot", [["number", "=", number]])[0]["id"])

    # -- what its records say ----------------------------------------------------------------------------------

    def stock(self, lot: str, product: str = "RING-74") -> dict[str, float]:
        """Where the lot lies, counted by Tryton: location code and quantity, other than 0."""
        places = [["type", "in", ["storage", "customer"]]]
        context = {"product": self.product(product), "lot": self._lot(lot), "with_childs": False}
        found = self.find("stock.location", places, "code", "quantity", **context)
        return {str(place["code"]): place["quantity"] for place in found if place["quantity"]}

    def documents(self, lot: str) -> list[tuple[str, str]]:
        """Internal shipments of the lot, oldest first: reference and state."""
        found = self.find("stock.shipment.internal", [["moves.lot.number", "=", lot]], "reference", "state")
        return [(str(one["reference"]), str(one["state"])) for one in found]

    def ever_negative(self, lots: Iterable[str]) -> list[str]:
        """Lots of which some storage location held less than nothing after some movement."""
        names = {self._lot(lot): lot for lot in lots}
        storage = {self._locations[code] for code in ("IN", "STO", "OUT", *ZONES)}
        moves = self.find(
            "stock.move", [["lot", "in", list(names)], ["state", "=", "done"]],
            "lot", "quantity", "from_location", "to_location", "write_date",
        )  # fmt: skip
        held: dict[tuple[int, int], float] = {}
        wrong = []
        for move in sorted(moves, key=lambda move: _moment(move["write_date"])):
            for place, sign in ((move["to_location"], 1), (move["from_location"], -1)):
                at = (move["lot"], place)
                held[at] = held.get(at, 0.0) + sign * move["quantity"]
                if place in storage and held[at] < 0:
                    wrong.append(names[move["lot"]])
        return wrong


def _moment(value: dict[str, int]) -> tuple[int, ...]:
    return tuple(value[part] for part in ("year", "month", "day", "hour", "minute", "second", "microsecond"))


def _date(year: int, month: int, day: int) -> dict[str, Any]:
    return {"__class__": "date", "year": year, "month": month, "day": day}


def _decimal(text: str) -> dict[str, Any]:
    return {"__class__": "Decimal", "decimal": text}


if __name__ == "__main__":
    prepared()
