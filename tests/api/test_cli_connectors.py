"""`lotgate connectors`: what is wrong with a connector file, and what a lot would be told, before anything is sent."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from api.cli.main import main
from engine.settings import SHIPPED_CONNECTORS

Ran = tuple[int, str, str]


@pytest.fixture
def lotgate(service: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> Callable[..., Ran]:
    """Runs a command beside the service, with connector files of its own."""
    shutil.copytree(SHIPPED_CONNECTORS, tmp_path / "connectors", ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    monkeypatch.setenv("LOTGATE_HOME", str(service.home))
    monkeypatch.setenv("LOTGATE_CONNECTORS", str(tmp_path / "connectors"))
    monkeypatch.setenv("LOTGATE_ERP_URL", "http://erp.example")
    monkeypatch.setenv("LOTGATE_SECRET_TOKEN", "hush-hush")

    def run(*arguments: str) -> Ran:
        capsys.readouterr()
        try:
            code = main(arguments)
        except SystemExit as end:
            code = int(end.code or 0)
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


def change(folder: Path, old: str, new: str) -> None:
    path = folder / "connectors" / "erp.yaml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_good_files_are_good(lotgate: Callable[..., Ran]) -> None:
    code, said, _ = lotgate("connectors", "check")
    assert code == 0
    assert "erp.yaml: good; tells http://erp.example by POST /api/lots/${lot}/status" in said


def test_a_bad_file_is_found_before_a_worker_meets_it(lotgate: Callable[..., Ran], tmp_path: Path) -> None:
    change(tmp_path, "quality: quality", "qualty: quality")
    code, said, _ = lotgate("connectors", "check", "--json")
    assert code == 1
    problems = {line["file"]: line["problem"] for line in json.loads(said)}
    assert problems["wms.yaml"] is None
    assert "has no word for quality" in problems["erp.yaml"]
    assert "qualty is no stock status" in problems["erp.yaml"]


def test_a_lot_is_tried_without_being_told(
    lotgate: Callable[..., Ran], service: Any, receipt: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    change(tmp_path, 'Idempotency-Key: "${key}"', 'Idempotency-Key: "${key}", X-Token: "${secret.token}"')
    event = receipt("tried")
    service.submit(event)
    lot = event["subject"]
    code, said, _ = lotgate("connectors", "try", lot, "--json")
    assert code == 0
    told = next(r for r in json.loads(said) if (r["target"], r["request"]) == ("erp", "deliver"))
    assert told["url"].startswith("http://erp.example/api/lots/")
    assert told["json"]["stock"] == "quality"
    assert told["headers"]["X-Token"] == "***"
    assert told["headers"]["Idempotency-Key"].startswith("lotgate:erp:")
    assert "erp deliver: POST" in lotgate("connectors", "try", lot)[1]


def test_a_lot_that_is_not_there_or_not_named_is_said(lotgate: Callable[..., Ran]) -> None:
    assert lotgate("connectors", "try", "NOBODY")[2] == "lotgate: There is no lot NOBODY.\n"
    assert lotgate("connectors", "try")[2] == "lotgate: say which lot to try: lotgate connectors try LOT\n"


def test_the_targets_of_a_lot_are_read_and_nothing_is_sent(
    lotgate: Callable[..., Ran], service: Any, receipt: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    event = receipt("read")
    service.submit(event)
    code, said, _ = lotgate("connectors", "check", event["subject"])
    assert code == 1, "the address of this ERP leads nowhere"
    assert "erp: it cannot be reached" in said
    change(tmp_path, "read_back:", "read_back_not:")
    assert lotgate("connectors", "check", event["subject"])[0] == 2
