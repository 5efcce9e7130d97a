"""`lotgate inbox`: files taken by hand, against the running service."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from api.cli.main import main

Ran = tuple[int, str, str]
RECEIPTS = """
inbound: 1
name: receipts
kind: drop
drop: {folder: drop, settle_s: 0}
columns: {lot: text, quantity: decimal}
event:
  type: lot.received.v1
  source: receiving/inbox
  subject: ${lot}
  data: {item: RING-74, revision: A, supplier: ACME, receipt: "GR-${lot}", quantity: {value: "${quantity}", unit: ea}}
"""
FACTS = """
inbound: 1
name: scars
kind: drop
drop: {folder: drop, settle_s: 0}
columns: {supplier: text, number: text}
record:
  kind: fact
  key: scar-${supplier}
  content: {kind: corrective_action, supplier: "${supplier}", fields: {number: "${number}", status: open}}
"""


@pytest.fixture
def lotgate(service: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> Callable[..., Ran]:
    monkeypatch.setenv("LOTGATE_HOME", str(service.home))
    (tmp_path / "drop").mkdir()
    (tmp_path / "receipts.yaml").write_text(RECEIPTS)
    (tmp_path / "scars.yaml").write_text(FACTS)

    def run(*arguments: str, mapping: str = "receipts.yaml") -> Ran:
        capsys.readouterr()
        try:
            code = main(["inbox", *arguments, "--mapping", str(tmp_path / mapping), "--url", service.url])
        except SystemExit as end:
            code = int(end.code or 0)
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


def test_a_folder_is_taken_once_and_again_changes_nothing(
    lotgate: Callable[..., Ran], tmp_path: Path, service: Any
) -> None:
    for outcome in ("2 applied", "2 known"):
        (tmp_path / "drop" / "r.csv").write_text("lot,quantity\nINBOX-1,5\nINBOX-2,6.5\n")
        code, said, _ = lotgate(str(tmp_path / "drop"))
        assert (code, said) == (0, f"r.csv: 2 rows: {outcome}\n")
    lot = service.http.get("/v1/lots/INBOX-2").json()
    assert lot["lot"]["quantity"] == "6.5"
    code, said, _ = lotgate(str(tmp_path / "drop"))
    assert (code, said) == (0, "nothing to take\n")


def test_a_dry_run_sends_and_moves_nothing(lotgate: Callable[..., Ran], tmp_path: Path, service: Any) -> None:
    path = tmp_path / "drop" / "r.csv"
    path.write_text("lot,quantity\nINBOX-DRY,5\nINBOX-DRY,x\n")
    code, said, wrong = lotgate(str(tmp_path / "drop"), "--dry-run")
    assert (code, said) == (1, "r.csv: 2 rows: 1 checked, 1 rejected\n")
    assert wrong == "r.csv:3: quantity: 'x' is no number with the decimal sign '.'\n"
    assert path.exists()
    assert service.http.get("/v1/lots/INBOX-DRY").status_code == 404


def test_a_file_elsewhere_stays_where_it_lies_and_a_refusal_is_said(
    lotgate: Callable[..., Ran], tmp_path: Path
) -> None:
    path = tmp_path / "by-hand.csv"
    path.write_text("lot,quantity\nINBOX-9,5\nINBOX-9,6\n")
    code, said, _ = lotgate(str(path), "--json")
    (outcome,) = json.loads(said)
    assert (code, outcome["counts"]) == (1, {"applied": 1, "rejected": 1})
    assert outcome["wrong"][0]["row"] == 3
    assert path.exists()


def test_records_go_into_the_reference_data_and_the_same_again_is_unchanged(
    lotgate: Callable[..., Ran], tmp_path: Path, service: Any
) -> None:
    path = tmp_path / "facts.csv"
    path.write_text("supplier,number\nINBOX-A,S-1\nINBOX-B,S-2\n")
    outcomes = [lotgate(str(path), *words, mapping="scars.yaml")[1] for words in (["--dry-run"], [], [])]
    assert [o.rpartition(": ")[2] for o in outcomes] == ["2 checked\n", "2 created\n", "2 unchanged\n"]
    record = service.http.get("/v1/reference/fact/scar-INBOX-A").json()["data"]
    assert [r["content"]["fields"]["number"] for r in record] == ["S-1"]


def test_what_cannot_be_taken_is_one_sentence(lotgate: Callable[..., Ran], tmp_path: Path) -> None:
    assert "none.csv cannot be read" in lotgate(str(tmp_path / "none.csv"))[2]
    (tmp_path / "link.csv").symlink_to(tmp_path / "receipts.yaml")
    assert "is a link" in lotgate(str(tmp_path / "link.csv"))[2]
    assert lotgate(str(tmp_path), mapping="nowhere.yaml")[2].startswith("lotgate: nowhere.yaml: it cannot be read")
    (tmp_path / "drop" / "link.csv").symlink_to(tmp_path / "receipts.yaml")
    code, said, wrong = lotgate(str(tmp_path / "drop"))
    assert (code, said) == (0, "nothing to take\n")
    assert wrong == "link.csv is no plain file (a link, a pipe); it is not taken\n"
