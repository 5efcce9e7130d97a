"""`lotgate pull`: inbound files checked, tried, asked for, and how they stand."""

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from api.cli.main import main
from engine.clock import system_clock
from engine.settings import load_settings
from engine.standing import Standing
from engine.store.opening import open_store
from tests.databases import new_sqlite

Ran = tuple[int, str, str]
ORDERS = """
inbound: 1
name: orders
kind: pull
pull:
  base_url: ${url.erp}
  path: /orders?since=${since}
  headers: {X-Api-Key: "${secret.erp}"}
  watermark: {member: at}
columns: {lot: text, quantity: decimal}
event:
  type: lot.received.v1
  source: erp/orders
  subject: ${lot}
  data: {item: RING-74, revision: A, supplier: ACME, receipt: "GR-${lot}", quantity: {value: "${quantity}", unit: ea}}
"""


class Erp(BaseHTTPRequestHandler):
    rows: list[Any] = []

    def do_GET(self) -> None:
        content = json.dumps(self.rows).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def erp() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Erp)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def lotgate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any, erp: str) -> Callable[..., Ran]:
    (tmp_path / "inbound").mkdir()
    (tmp_path / "inbound" / "orders.yaml").write_text(ORDERS)
    for name, value in (("HOME", str(tmp_path)), ("INBOUND", str(tmp_path / "inbound")), ("URL_ERP", erp),
                        ("SECRET_ERP", "hush-hush")):  # fmt: skip
        monkeypatch.setenv(f"LOTGATE_{name}", value)
    new_sqlite(tmp_path)

    def run(*arguments: str) -> Ran:
        capsys.readouterr()
        try:
            code = main(["pull", *arguments])
        except SystemExit as end:
            code = int(end.code or 0)
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


def test_good_files_are_good_and_a_bad_one_is_named(lotgate: Callable[..., Ran], tmp_path: Path) -> None:
    assert lotgate("check")[:2] == (0, "orders.yaml: good; a pull\n")
    (tmp_path / "inbound" / "bad.yaml").write_text(ORDERS.replace("quantity: decimal", "quantity: money"))
    code, said, _ = lotgate("check", "--json")
    assert code == 1
    assert json.loads(said)[0]["problem"].startswith("bad.yaml:10:")


def test_try_shows_what_rows_would_become_and_changes_nothing(lotgate: Callable[..., Ran]) -> None:
    Erp.rows = [{"lot": "A", "quantity": 5, "at": "2026-11-23T08:00:00Z"}, {"lot": "", "quantity": 5}]
    code, said, _ = lotgate("try", "orders")
    first, second, last = said.splitlines()
    assert (code, json.loads(first)["data"]["quantity"]["value"]) == (1, "5")
    assert second == "is empty: ${lot} needs a value"
    assert last == "the first page has 2 rows; nothing was changed"
    assert lotgate("status")[:2] == (0, "orders (never looked at): never yet well\n")


def test_now_asks_the_clock_from_a_watermark_on(lotgate: Callable[..., Ran], tmp_path: Path) -> None:
    code, said, _ = lotgate("now", "orders", "--since", "2026-11-01T00:00:00Z")
    assert (code, said) == (0, "the clock process fetches orders within a second; see `lotgate pull status`\n")
    store = open_store("", tmp_path)
    stand = Standing(store, system_clock).of("orders", "pull")
    assert (stand.watermark, stand.due_at) == ("2026-11-01T00:00:00Z", 0.0)
    store.close()
    code, _, wrong = lotgate("now", "orders", "--since", "yesterday")
    assert (code, wrong) == (2, "lotgate: --since yesterday is no time with its zone, such as 2026-11-23T08:00:00Z\n")


def test_the_status_says_why_it_fails_and_ends_with_1(lotgate: Callable[..., Ran], tmp_path: Path) -> None:
    store = open_store("", tmp_path)
    standing = Standing(store, system_clock)
    standing.ask("orders", "pull")
    standing.failed("orders", "it answers 500", 0.0)
    store.close()
    code, said, _ = lotgate("status")
    assert (code, said) == (1, "orders (pull): never yet well; failed 1 times since: it answers 500\n")


def test_what_is_wrong_is_one_sentence(
    lotgate: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert "say which inbound file: lotgate pull try NAME" in lotgate("try")[2]
    assert "nowhere.yaml: it cannot be read" in lotgate("try", "nowhere")[2]
    assert "no inbound file is called" in lotgate("try", "../inbound/orders")[2]
    monkeypatch.setenv("LOTGATE_URL_ERP", "http://127.0.0.1:9")
    (tmp_path / "inbound" / "orders.yaml").write_text(ORDERS.replace("  path:", "  attempts: 1\n  path:"))
    code, _, wrong = lotgate("try", "orders")
    assert code == 1
    assert wrong.startswith("lotgate: orders: it cannot be reached")
    assert load_settings({}).inbound == ""
    monkeypatch.delenv("LOTGATE_INBOUND")
    assert "set LOTGATE_INBOUND" in lotgate("status")[2]
