"""The `lotgate` commands that work on what is here: verify, keys, rules, config, migrate, and the processes."""

import hashlib
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from api.cli.main import main
from engine.settings import SHIPPED_RULES, Settings

Ran = tuple[int, str, str]


@pytest.fixture
def lotgate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Ran]:
    """Runs a command on a home directory of its own; gives exit code, output and error output."""
    for name in [n for n in os.environ if n.startswith("LOTGATE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("LOTGATE_HOME", str(tmp_path))

    def run(*arguments: str) -> Ran:
        capsys.readouterr()
        try:
            code = main(arguments)
        except SystemExit as end:
            code = int(end.code or 0)
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


@pytest.fixture
def lot(service: Any, receipt: Callable[..., dict[str, Any]], tmp_path: Path) -> str:
    """A lot in a copy of the service's database, without the triggers that keep its journal."""
    event = receipt("kept")
    service.submit(event)
    service.submit({**event, "id": event["id"] + "-again", "data": {**event["data"], "receipt": "GR-OTHER"}})  # refused and kept
    with sqlite3.connect(service.home / "lotgate.db", timeout=10) as database:
        database.execute("VACUUM INTO ?", (str(tmp_path / "lotgate.db"),))
    with sqlite3.connect(tmp_path / "lotgate.db") as copy:
        for (name,) in copy.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            copy.execute(f"DROP TRIGGER {name}")
    return str(event["subject"])


def tamper(home: Path, statement: str, *values: object) -> None:
    with sqlite3.connect(home / "lotgate.db") as database:
        assert database.execute(statement, values).rowcount > 0


# -- verify ------------------------------------------------------------------------------------------------------


def test_a_true_journal_verifies(lotgate: Callable[..., Ran], lot: str) -> None:
    code, out, error = lotgate("verify", "--lot", lot)
    assert (code, error) == (0, "")
    assert out == "1 lot, 3 entries: every chain holds and every fold equals its lot.\n"
    code, out, _ = lotgate("verify", "--json")
    assert (code, json.loads(out)["breaks"]) == (0, [])


@pytest.mark.parametrize(
    ("statement", "version", "words"),
    [
        ("UPDATE journal SET data = replace(data, 'ACME', 'OTHR') WHERE lot = ? AND version = 1", 1, "its content was changed"),
        ("UPDATE journal SET principal = 'nobody' WHERE lot = ? AND version = 2", 2, "its content was changed"),
        ("DELETE FROM journal WHERE lot = ? AND version = 2", 3, "version 2 is missing"),
        ("UPDATE journal SET hash = prev_hash WHERE lot = ? AND version = 1", 1, "its content was changed"),
        ("UPDATE lots SET snapshot = replace(snapshot, 'ACME', 'OTHR') WHERE id = ?", 3, "folding the journal does not give"),
        ("DELETE FROM lots WHERE id = ?", 3, "the journal has no lot beside it"),
    ],
)  # fmt: skip
def test_a_journal_that_was_tampered_with_is_named_and_the_exit_code_says_so(
    statement: str, version: int, words: str, lotgate: Callable[..., Ran], lot: str, tmp_path: Path
) -> None:
    tamper(tmp_path, statement, lot)
    code, out, _ = lotgate("verify")
    assert code == 1
    assert f"lot {lot}, version {version}: {words}" in out
    assert out.splitlines()[-1].endswith("entries: see above.")
    assert [b["lot"] for b in json.loads(lotgate("verify", "--json")[1])["breaks"]] == [lot]


def test_an_entry_that_is_hashed_anew_breaks_the_one_after_it(
    lotgate: Callable[..., Ran], lot: str, tmp_path: Path
) -> None:
    tamper(tmp_path, "UPDATE journal SET hash = ? WHERE lot = ? AND version = 1", hashlib.sha256(b"x").hexdigest(), lot)
    assert "version 1: its content was changed" in lotgate("verify", "--lot", lot)[1]


def test_verify_makes_no_database_where_there_is_none(lotgate: Callable[..., Ran], tmp_path: Path) -> None:
    code, out, error = lotgate("verify")
    assert (code, out) == (2, "")
    assert error.startswith(f"lotgate: there is no database in {tmp_path}; ")
    assert list(tmp_path.iterdir()) == []


def test_a_lot_that_is_not_there_is_said(lotgate: Callable[..., Ran], lot: str) -> None:
    assert lotgate("verify", "--lot", "nobody") == (1, "", "lotgate: there is no lot nobody\n")


# -- keys --------------------------------------------------------------------------------------------------------


def test_a_key_opens_the_door_until_it_is_revoked(
    service: Any, monkeypatch: pytest.MonkeyPatch, lotgate: Callable[..., Ran]
) -> None:
    monkeypatch.setenv("LOTGATE_HOME", str(service.home))
    made = json.loads(lotgate("keys", "add", "lims-2", "--role", "read", "--days", "3", "--json")[1])
    client = service.client(made["key"])
    until(lambda: client.get("/v1/lots").status_code == 200)
    assert client.post("/v1/lots/x/hold", headers={"Idempotency-Key": "k"}, json={}).status_code == 403
    code, out, _ = lotgate("keys", "list")
    line = next(line for line in out.splitlines() if "lims-2" in line)
    assert code == 0
    assert "read" in line
    assert "valid until" in line
    assert made["key"] not in out
    assert lotgate("keys", "revoke", line.split()[0])[0] == 0
    until(lambda: client.get("/v1/lots").status_code == 401)
    assert "revoked" in next(line for line in lotgate("keys", "list")[1].splitlines() if "lims-2" in line)
    code, out, error = lotgate("keys", "revoke", line.split()[0])
    assert (code, out, error.count("\n")) == (1, "", 1)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("add",), "needs the name of whoever will hold it"), (("revoke",), "needs the id of a key"),
        (("list", "--role", "admin"), "--role, --source, --plant and --days go with"), (("add", "x", "--role", "king"), "invalid choice"),
        (("list", "--overlap", "9"), "--overlap goes with"), (("add", "x", "--days", "0"), "'0' is not a whole number above 0"), (("list",), "there is no database in "),
    ],
)  # fmt: skip
def test_keys_says_what_it_needs(arguments: tuple[str, ...], words: str, lotgate: Callable[..., Ran]) -> None:
    code, out, error = lotgate("keys", *arguments)
    assert (code, out, error.count("\n")) == (2, "", 1)
    assert words in error


def until(true: Callable[[], bool], seconds: float = 5) -> None:
    import time

    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.05)


# -- rules, settings, database -------------------------------------------------------------------------------------


def test_the_shipped_rules_have_no_mistake_and_pass_their_tests(lotgate: Callable[..., Ran]) -> None:
    code, out, _ = lotgate("rules", "lint", str(SHIPPED_RULES))
    assert (code, "0 errors" in out) == (0, True)
    code, out, _ = lotgate("rules", "test", str(SHIPPED_RULES))
    assert (code, "expectations met, 0 not" in out) == (0, True)
    for action in ("lint", "test"):
        json.loads(lotgate("rules", action, str(SHIPPED_RULES), "--json")[1])


def test_a_mistake_in_a_rule_file_is_told_with_its_place(lotgate: Callable[..., Ran], tmp_path: Path) -> None:
    packs = tmp_path / "packs"
    shutil.copytree(SHIPPED_RULES, packs)
    file = packs / "shipment" / "shipment.yaml"
    file.write_text(file.read_text().replace("lot.recall_open = no", "lot.recal_open = no"))
    code, out, _ = lotgate("rules", "lint", str(packs))
    assert code == 1
    assert "shipment/shipment.yaml:" in out
    assert 'did you mean "lot.recall_open"?' in out
    assert "recal_open" in json.dumps(json.loads(lotgate("rules", "lint", str(packs), "--json")[1]))


def test_a_rule_test_that_fails_ends_with_1(lotgate: Callable[..., Ran], tmp_path: Path) -> None:
    packs = tmp_path / "packs"
    shutil.copytree(SHIPPED_RULES, packs)
    file = packs / "shipment" / "shipment.yaml"
    file.write_text(file.read_text().replace("expect: {NO-RECALL: fail", "expect: {NO-RECALL: pass"))
    code, out, _ = lotgate("rules", "test", str(packs))
    assert code == 1
    assert "NO-RECALL is fail, expected pass" in out


def test_a_directory_that_is_not_there_is_one_sentence(lotgate: Callable[..., Ran]) -> None:
    code, out, error = lotgate("rules", "lint", "/no/such/directory")
    assert (code, out, error) == (2, "", "lotgate: there is no directory /no/such/directory\n")


def test_the_settings_in_force_are_shown_and_secrets_are_not(
    lotgate: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOTGATE_API_KEY", "lotgate_a_verysecret")
    monkeypatch.setenv("LOTGATE_DATABASE_URL", "postgresql://me:verysecret@db/x")
    monkeypatch.setenv("LOTGATE_SECRET_ERP", "verysecret")
    code, out, _ = lotgate("config", "show")
    assert code == 0
    assert "verysecret" not in out + lotgate("config", "show", "--json")[1]
    assert [line.split("=")[0] for line in out.splitlines()] == [f"LOTGATE_{f.upper()}" for f in Settings.__struct_fields__]
    assert set(json.loads(lotgate("config", "show", "--json")[1])) == set(Settings.__struct_fields__)


@pytest.mark.parametrize(
    ("name", "value", "command"),
    [
        ("LOTGATE_PORT", "eighty", ("config", "show")), ("LOTGATE_PORT", "0", ("up",)),
        ("LOTGATE_TIMEZONE", "Mars/Olympus", ("web",)), ("LOTGATE_CHANNEL", "one", ("verify",)),
        ("LOTGATE_CONFIG", "/no/such.toml", ("worker",)), ("LOTGATE_DATABASE_URL", "mysql://x/y", ("migrate",)),
        ("LOTGATE_DATABASE_URL", "postgresql://127.0.0.1:1/x?connect_timeout=2", ("migrate",)),
        ("LOTGATE_RULES", "/no/such/rules", ("web",)), ("LOTGATE_REDIS_URL", "none", ("worker",)),
    ],
)  # fmt: skip
def test_a_setting_that_cannot_be_used_stops_the_command_with_one_sentence(
    name: str, value: str, command: tuple[str, ...], tmp_path: Path
) -> None:
    """In a process of its own, as supervisors start it: no traceback, whatever the command."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("LOTGATE_")}
    done = subprocess.run(
        [sys.executable, "-m", "api.cli.main", *command], capture_output=True, text=True, timeout=60,
        env=environment | {"LOTGATE_HOME": str(tmp_path), name: value},
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    told = [line for line in done.stderr.splitlines() if line.startswith("lotgate: ")]
    assert len(told) == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert value.split("?")[0] in told[0] or name in told[0] or "postgresql" in told[0] or "mysql" in told[0], told


def test_migrating_twice_changes_nothing(lotgate: Callable[..., Ran], tmp_path: Path) -> None:
    first = lotgate("migrate")
    assert first[0] == 0
    assert first[1].startswith("The database is at revision ")
    assert lotgate("migrate") == first


def test_the_sandboxes_stand_beside_the_port_unless_a_real_system_is_named(
    lotgate: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("LOTGATE_PORT", "9000")
    (tmp_path / "lotgate.toml").write_text('wms_url = "http://wms.plant.example"\n')
    monkeypatch.setenv("LOTGATE_CONFIG", str(tmp_path / "lotgate.toml"))
    shown = json.loads(lotgate("config", "show", "--json")[1])
    assert (shown["erp_url"], shown["wms_url"]) == ("http://127.0.0.1:9001", "http://wms.plant.example")


def test_a_reader_that_goes_away_is_no_error(tmp_path: Path) -> None:
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {sys.executable} -m api.cli.main rules schema | head -c 1 > /dev/null"],
        capture_output=True, text=True, timeout=60, env={**os.environ, "LOTGATE_HOME": str(tmp_path)},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
