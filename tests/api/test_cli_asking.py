"""The `lotgate` commands that ask the running service: submit, lot, deliveries, targets. Real service, real HTTP."""

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from api.cli.main import main

Receipt = Callable[..., dict[str, Any]]


class Said:
    """What a command printed, and how it ended."""

    def __init__(self, code: int, out: str, error: str) -> None:
        self.code, self.out, self.error = code, out, error

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def lotgate(service: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    """Runs a command as in a terminal beside the service."""
    for name in [n for n in os.environ if n.startswith("LOTGATE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("LOTGATE_HOME", str(service.home))
    monkeypatch.setenv("LOTGATE_PORT", str(service.port))

    def run(*arguments: str) -> Said:
        capsys.readouterr()
        try:
            code = main(arguments)
        except SystemExit as end:
            code = int(end.code or 0)
        printed = capsys.readouterr()
        return Said(code, printed.out, printed.err)

    return run


def one_sentence(said: Said) -> bool:
    return said.error.startswith("lotgate: ") and said.error.count("\n") == 1 and "Traceback" not in said.error


# -- submit ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", ["object", "array", "ndjson", "pretty"])
def test_events_are_sent_from_every_shape_of_file(
    shape: str, lotgate: Callable[..., Said], receipt: Receipt, hold: Receipt, tmp_path: Path, service: Any
) -> None:
    first = receipt(shape)
    events = [first] if shape in ("object", "pretty") else [first, hold(first["subject"])]
    texts = {
        "object": json.dumps(events[0]), "pretty": json.dumps(events[0], indent=4), "array": json.dumps(events),
        "ndjson": "\r\n".join(["", *map(json.dumps, events), "", ""]),
    }  # fmt: skip
    file = tmp_path / "events"
    file.write_text(texts[shape])
    said = lotgate("submit", str(file))
    number = "1 event" if len(events) == 1 else "2 events"
    assert (said.code, said.out, said.error) == (0, f"{number}: {len(events)} applied\n", "")
    again = lotgate("submit", str(file), "--json")
    assert [(r["status"], r["outcome"], r["id"]) for r in again.json] == [(200, "replayed", e["id"]) for e in events]


def test_events_come_from_standard_input(service: Any, receipt: Receipt) -> None:
    environment = {**os.environ, "LOTGATE_HOME": str(service.home), "LOTGATE_PORT": str(service.port)}
    done = subprocess.run(
        [sys.executable, "-m", "api.cli.main", "submit", "-"], input=json.dumps(receipt("stdin")).encode(),
        env=environment, capture_output=True, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, b"1 event: 1 applied\n", b"")


def test_events_of_one_lot_are_sent_in_order_whatever_is_sent_beside_them(
    lotgate: Callable[..., Said], receipt: Receipt, hold: Receipt, tmp_path: Path, service: Any
) -> None:
    receipts = [receipt(str(n)) for n in range(12)]
    holds = [hold(r["subject"], f"H-{n}") for n in range(3) for r in receipts]
    (tmp_path / "e.ndjson").write_text("\n".join(json.dumps(e) for e in [*receipts, *holds]))
    said = lotgate("submit", str(tmp_path / "e.ndjson"), "--at-once", "12")
    assert said.out == "48 events: 48 applied\n"
    for one in receipts:
        journal = service.http.get(f"/v1/lots/{one['subject']}/journal").json()["data"]
        kept = [e["event_id"] for e in journal if e["kind"] == "event"]
        assert kept == [one["id"], *(f"h-{one['subject']}-H-{n}" for n in range(3))]


def test_numbers_arrive_with_every_digit(
    lotgate: Callable[..., Said], receipt: Receipt, tmp_path: Path, service: Any
) -> None:
    """A number that a binary float cannot hold is sent as it is written."""
    event = receipt("digits")
    text = json.dumps(event).replace('"value": "100"', '"value": 123456789.123457')
    assert "123456789.123457" in text
    (tmp_path / "e.json").write_text(text)
    assert lotgate("submit", str(tmp_path / "e.json")).code == 0
    assert service.http.get(f"/v1/lots/{event['subject']}").json()["lot"]["quantity"] == "123456789.123457"


def test_a_refusal_is_told_with_its_rule_and_the_rest_is_sent(
    lotgate: Callable[..., Said], receipt: Receipt, tmp_path: Path
) -> None:
    good, bad, wrong = receipt("good"), receipt("bad", item="NOBODY-KNOWS"), receipt("wrong", quantity={"value": "x"})
    (tmp_path / "e.json").write_text(json.dumps([bad, wrong, good]))
    said = lotgate("submit", str(tmp_path / "e.json"))
    assert said.code == 1
    lines = said.out.splitlines()
    assert lines[0].startswith(f"refused: {bad['id']} of lot {bad['subject']}: gate-failed: The gate receive is shut:")
    assert lines[1].startswith(f"refused: {wrong['id']} of lot {wrong['subject']}: event-invalid: ")
    assert lines[2].lstrip().startswith("/data/quantity")
    assert lines[-1] == "3 events: 1 applied, 1 event-invalid, 1 gate-failed"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "there are no events in "), (b"\n\n", "there are no events in "), (b"[]", "there are no events in "),
        (b"{", "line 1 is not JSON: "), (b"{}\nnonsense", "line 2 is not JSON: "),
        (b"[1]", "item 1 is not an event: an event is a JSON object"), (b"\xff\xfe", "line 1 is not JSON: "),
        (b'"x"', "item 1 is not an event"), (b"{}\n[]\n", "line 2 is not an event"),
    ],
)  # fmt: skip
def test_a_file_without_events_is_told_in_one_sentence(
    content: bytes, words: str, lotgate: Callable[..., Said], tmp_path: Path
) -> None:
    (tmp_path / "e").write_bytes(content)
    said = lotgate("submit", str(tmp_path / "e"))
    assert (said.code, said.out) == (2, "")
    assert one_sentence(said)
    assert words in said.error


# -- lot ---------------------------------------------------------------------------------------------------------


def test_a_lot_is_shown_with_holds_targets_steps_and_journal(
    lotgate: Callable[..., Said], receipt: Receipt, hold: Receipt, service: Any
) -> None:
    event = receipt("shown / 50%")
    service.submit(event)
    service.submit(hold(event["subject"]))
    said = lotgate("lot", event["subject"])
    assert said.code == 0
    lines = said.out.splitlines()
    assert lines[0] == f"{event['subject']}: blocked, version 3"
    assert lines[1] == "  100 ea of RING-74 revision A, supplier ACME"
    assert lines[2] == "  hold H-1: SUSPECT"
    assert "  ERP agreed to nothing yet, has still to be told blocked" in lines
    assert "lift_hold" in next(line for line in lines if line.startswith("  next: "))
    assert lines[-1].endswith("hold.applied.v1            quarantined → blocked")
    found = lotgate("lot", event["subject"], "--json").json
    assert (found["lot"]["state"], [e["version"] for e in found["journal"]]) == ("blocked", [1, 2, 3])


def test_a_long_journal_is_whole_in_json_and_short_on_the_screen(
    lotgate: Callable[..., Said], receipt: Receipt, hold: Receipt, service: Any
) -> None:
    event = receipt("long")
    service.submit(event)
    for number in range(40):
        service.submit(hold(event["subject"], f"H-{number}"))
    assert "  … 12 older entries (--json has all)" in lotgate("lot", event["subject"]).out
    assert len(lotgate("lot", event["subject"], "--json").json["journal"]) == 42


def test_why_not_shows_every_reason_with_its_place(
    lotgate: Callable[..., Said], receipt: Receipt, hold: Receipt, service: Any
) -> None:
    event = receipt("why")
    service.submit(event)
    service.submit(hold(event["subject"]))
    said = lotgate("lot", event["subject"], "--explain", "release")
    assert said.code == 1
    assert f"release of {event['subject']} (blocked, version 3) would be refused." in said.out
    assert "NO-ACTIVE-HOLD: hold H-1 (SUSPECT) is active (release/release.yaml:" in said.out
    assert "lot.inspection_complete = yes   (no | yes)" in said.out
    assert lotgate("lot", event["subject"], "--explain", "release", "--json").json["open"] is False


def test_what_would_be_carried_out_ends_with_0(lotgate: Callable[..., Said], receipt: Receipt, service: Any) -> None:
    event = receipt("open")
    service.submit(event)
    said = lotgate("lot", event["subject"], "--explain", "hold")
    assert (said.code, said.out) == (0, f"hold of {event['subject']} (quarantined, version 2) would be carried out.\n")


# -- deliveries and targets ----------------------------------------------------------------------------------------


def kill_deliveries(service: Any, lot: str) -> None:
    """As after three days without the targets."""
    with sqlite3.connect(service.home / "lotgate.db", timeout=10) as database:
        database.execute("UPDATE deliveries SET state = 'dead', last_error = 'never again' WHERE lot = ?", (lot,))


def test_deliveries_are_listed_narrowed_down_and_replayed(
    lotgate: Callable[..., Said], receipt: Receipt, service: Any
) -> None:
    event = receipt("told")
    service.submit(event)
    lotgate("targets", "pause", "erp", "--reason", "a test")
    try:
        kill_deliveries(service, event["subject"])
        said = lotgate("deliveries", "--lot", event["subject"], "--state", "dead", "--target", "erp")
        assert said.out.splitlines()[-1] == "1 delivery: 1 dead"
        assert "never again" in said.out
        rows = lotgate("deliveries", "--lot", event["subject"], "--json").json
        assert {row["target"] for row in rows} == {"erp", "wms"}
        only = ("--lot", event["subject"], "--target", "erp")
        assert lotgate("deliveries", "--replay", "all", "--dry-run", *only).out == "1 dead delivery to send again\n"
        number = next(str(row["id"]) for row in rows if row["target"] == "erp")
        assert lotgate("deliveries", "--replay", number).out == "1 dead delivery sent again\n"
        assert lotgate("deliveries", "--replay", number, "--json").json == {"replayed": 0, "dry_run": False}
        states = lotgate("deliveries", *only, "--json").json
        assert [row["state"] for row in states] == ["pending"]
    finally:
        lotgate("targets", "resume", "erp")


def test_targets_are_paused_with_a_reason_and_resumed(lotgate: Callable[..., Said], service: Any) -> None:
    try:
        assert lotgate("targets", "pause", "wms", "--reason", "an upgrade").out == "wms is paused\n"
        line = next(line for line in lotgate("targets").out.splitlines() if line.startswith("wms"))
        assert "paused by admin since " in line
        assert "an upgrade" in line
        assert {line["state"]["name"] for line in lotgate("targets", "--json").json} == {"erp", "wms"}
    finally:
        assert lotgate("targets", "resume", "wms").code == 0
    assert "paused" not in next(line for line in lotgate("targets").out.splitlines() if line.startswith("wms"))


# -- what goes wrong -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("lot", "no/such lot"), 1, "There is no lot no/such lot."),
        (("lot", "x", "--explain", "rlease"), 1, "There is no trigger 'rlease'; there are receive, "),
        (("deliveries", "--state", "lost"), 1, "state must be one of pending, sending,"),
        (("deliveries", "--replay", "seven"), 2, "takes a delivery's number or `all`, not 'seven'"),
        (("deliveries", "--dry-run"), 2, "--dry-run goes with --replay"),
        (("deliveries", "--replay", "1", "--dry-run"), 2, "--dry-run goes with `--replay all`"),
        (("deliveries", "--replay", "all", "--state", "dead"), 2, "--state does not go with it"),
        (("targets", "pause"), 2, "say which target to pause: its name, such as erp"),
        (("targets", "pause", "mes"), 1, "There is no target mes"),
        (("submit", "/no/such/file"), 2, "/no/such/file cannot be read: No such file or directory"),
        (("submit", "/"), 2, "/ cannot be read: Is a directory"),
        (("submit", "x", "--at-once", "0"), 2, "'0' is not a whole number above 0"),
        (("demo", "--lots", "-1"), 2, "'-1' is not a whole number above 0"),
        (("lot", "x", "--key", "wrong"), 2, "does not let this API key do that (401)"),
        (("lot", "x", "--url", "nonsense"), 2, "'nonsense' is no address"),
        (("lot", "x", "--url", "http://127.0.0.1:1"), 2, "does not answer at http://127.0.0.1:1"),
        ((), 2, "COMMAND; see `lotgate --help`"),
        (("frobnicate",), 2, "invalid choice: 'frobnicate'"),
        (("lot",), 2, "arguments are required: lot; see `lotgate lot --help`"),
    ],
)  # fmt: skip
def test_what_goes_wrong_is_one_sentence_and_an_exit_code(
    arguments: tuple[str, ...], code: int, words: str, lotgate: Callable[..., Said]
) -> None:
    said = lotgate(*arguments)
    assert (said.code, said.out) == (code, ""), said.error
    assert one_sentence(said), said.error
    assert words in said.error


def test_a_service_that_is_away_is_told_before_anything_is_sent(lotgate: Callable[..., Said], tmp_path: Path) -> None:
    (tmp_path / "e.json").write_text("{}")
    said = lotgate("submit", str(tmp_path / "e.json"), "--url", "http://127.0.0.1:1")
    assert said.code == 2
    assert "start it with `make up`" in said.error


def test_without_any_key_the_sentence_says_where_one_comes_from(
    lotgate: Callable[..., Said], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("LOTGATE_HOME", str(tmp_path))
    said = lotgate("lot", "x")
    assert said.code == 2
    assert said.error == (
        "lotgate: there is no API key: give --key, set LOTGATE_API_KEY, or start Lotgate, "
        f"which makes {tmp_path / 'admin.key'}\n"
    )


def test_what_is_not_lotgate_is_recognised(lotgate: Callable[..., Said], tmp_path: Path) -> None:
    """Another program that answers there: its page is no traceback of ours."""
    server = subprocess.Popen(
        [sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1"], cwd=tmp_path,
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    try:
        assert server.stdout is not None
        port = server.stdout.readline().split(" port ")[1].split()[0]
        said = lotgate("deliveries", "--url", f"http://127.0.0.1:{port}")
        assert (said.code, one_sentence(said)) == (2, True), said.error
        assert "is that Lotgate?" in said.error
    finally:
        server.kill()
        server.wait()


# -- audit -------------------------------------------------------------------------------------------------------


def test_an_archive_is_held_against_the_key_of_the_installation(
    lotgate: Callable[..., Said], receipt: Receipt, service: Any, tmp_path: Path
) -> None:
    event = receipt()
    assert service.submit(event).status_code == 201
    lot, archive, key = event["subject"], str(tmp_path / "a.zip"), str(tmp_path / "lotgate.pub")
    kept, other = str(tmp_path / "a.checkpoint"), tmp_path / "other.pub"
    assert lotgate("audit", "checkpoint", lot, "--out", kept).code == 0
    assert lotgate("audit", "export", lot, "--out", archive).code == 0
    assert lotgate("audit", "key", "--out", key).code == 0
    said = lotgate("audit", "verify", archive, "--key", key, "--checkpoint", kept)
    assert said.code == 0
    assert said.out.splitlines()[-1].startswith("signed by the key ")
    assert json.loads(Path(kept).read_text())["key_id"] == said.out.split()[-1]
    assert lotgate("audit", "key").out == Path(key).read_text()
    other.write_text(
        "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\n-----END PUBLIC KEY-----\n"
    )
    said = lotgate("audit", "verify", archive, "--key", str(other))
    assert (said.code, "was not signed by the key" in said.out) == (1, True)
    for wrong in (archive, str(tmp_path / "nowhere.pub")):
        said = lotgate("audit", "verify", archive, "--key", wrong)
        assert said.code == 2
        assert one_sentence(said)
    for words in (["verify"], ["export"], ["checkpoint", "NEVER-WAS"]):
        assert lotgate("audit", *words).code != 0
    assert (service.home / "signing.key").stat().st_mode & 0o777 == 0o600
