"""Checkpoints of everything over HTTP and on the command line: asked for, listed, kept, held against the database."""

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import msgspec

from engine.checkpoints import is_signed, read_public
from engine.installation_checkpoints import InstallationCheckpoint, leaf_of, signed_bytes
from engine.merkle import Tree
from engine.store.lines import Line
from tests.api.conftest import ROOT, Service
from tests.api.test_access_http import grant, until

Receipt = Callable[..., dict[str, Any]]


def run(own: Service, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "LOTGATE_HOME": str(own.home), "LOTGATE_PORT": str(own.port), "PYTHONPATH": str(ROOT)}
    return subprocess.run([sys.executable, "-m", "api.cli.main", *words], env=environment, capture_output=True, text=True,
                          timeout=60, cwd=own.home)  # fmt: skip


def test_everything_is_signed_on_request_and_verified_with_nothing_but_what_is_served(own: Service, receipt: Receipt) -> None:
    nothing = own.http.post("/v1/checkpoints")
    assert (nothing.status_code, nothing.json()["detail"]) == (404, "There is no entry in the journal yet: nothing can be signed.")
    for number in range(3):
        assert own.submit(receipt(str(number))).status_code == 201
    made = own.http.post("/v1/checkpoints")
    assert (made.status_code, made.headers["location"]) == (201, "/v1/checkpoints/1")
    again = own.http.post("/v1/checkpoints")
    assert (again.status_code, again.json()) == (200, made.json())
    own.submit(receipt("later"))
    own.http.post("/v1/checkpoints")
    first = own.http.get("/v1/checkpoints?limit=1").json()
    assert [one["number"] for one in first["data"]] == [2]
    second = own.http.get("/v1/checkpoints", params={"limit": 1, "cursor": first["next"]}).json()
    assert (second["data"], second["next"]) == ([made.json()], None)
    assert own.http.get("/v1/checkpoints/1").json() == made.json()
    assert own.http.get("/v1/checkpoints/9").status_code == 404
    assert own.http.get("/v1/checkpoints/1/lines?cursor=MTp4").status_code == 400

    lines, cursor = [], None
    while True:
        page = own.http.get("/v1/checkpoints/1/lines", params={"limit": 4} | ({"cursor": cursor} if cursor else {})).json()
        lines += page["data"]
        cursor = page["next"]
        if cursor is None:
            break
    one = msgspec.convert(made.json(), InstallationCheckpoint)
    assert Tree(leaf_of(Line(0, **line)) for line in lines).root().hex() == one.root
    assert (len(lines), len({line["lot"] for line in lines})) == (one.entries, one.lots)
    key = read_public(own.http.get("/v1/checkpoints/key").json()["public_key"].encode())
    assert is_signed(one.signature, signed_bytes(one), key)


def test_who_may_only_read_may_look_and_not_ask(own: Service, receipt: Receipt) -> None:
    own.submit(receipt())
    keys = [grant(own, "reader", '["read"]'), grant(own, "signer", '["sign"]'), grant(own, "there", '["read"]', plants='["P1"]')]
    with own.client(keys[2]) as last:
        until(lambda: last.get("/v1/lots?plant=P1").status_code == 200)
    with own.client(keys[0]) as reader:
        assert reader.post("/v1/checkpoints").status_code == 403
        assert reader.get("/v1/checkpoints").json() == {"data": [], "next": None}
    with own.client(keys[1]) as signer:
        assert signer.post("/v1/checkpoints").status_code == 201
    with own.client(keys[2]) as elsewhere:
        assert elsewhere.get("/v1/checkpoints").status_code == 403, "it names lots of every plant"


def test_one_that_was_kept_shows_on_the_command_line_what_an_operator_took_away(own: Service, receipt: Receipt) -> None:
    for number in range(3):
        own.submit(receipt(str(number)))
    assert "note: there is no checkpoint yet" in run(own, "verify").stdout
    asked = run(own, "audit", "checkpoint", "--out", "kept-1.json")
    assert (asked.returncode, asked.stdout) == (0, "kept-1.json written\n"), asked.stderr
    own.submit(receipt("3"))
    assert run(own, "audit", "checkpoint", "--out", "kept-2.json").returncode == 0
    run(own, "audit", "key", "--out", "lotgate.pub")
    good = run(own, "verify", "--checkpoint", "kept-1.json", "kept-2.json", "--key", "lotgate.pub")
    assert good.returncode == 0, good.stdout + good.stderr
    assert "2 checkpoints over 8 entries, and 2 that were kept: every entry up to the newest is as it was signed." in good.stdout
    gone = receipt("1")["subject"]
    with sqlite3.connect(own.home / "lotgate.db", timeout=10) as database:
        for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            database.execute(f"DROP TRIGGER {name}")
        database.execute("DELETE FROM journal WHERE lot = ?", (gone,))
        database.execute("DELETE FROM lots WHERE id = ?", (gone,))
    said = run(own, "verify", "--json")
    report = json.loads(said.stdout)
    assert (said.returncode, report["breaks"], len(report["checkpoints"]["problems"])) == (1, [], 1)
    assert "3 lots were signed, there are 2" in report["checkpoints"]["problems"][0]
    with sqlite3.connect(own.home / "lotgate.db", timeout=10) as database:
        for table in ("checkpoints", "checkpoint_ranges", "checkpoint_blocks"):
            database.execute(f"DELETE FROM {table}")
    assert run(own, "audit", "checkpoint").returncode == 0
    assert run(own, "verify").returncode == 0, "whoever has the key is shown only by what was kept"
    said = run(own, "verify", "--checkpoint", "kept-2.json", "--checkpoint", "kept-1.json")
    assert said.returncode == 1
    assert "kept checkpoint 1 of" in said.stdout.splitlines()[0]
    assert "up to there 3 lots were signed, the journal has 2" in said.stdout
    assert "the database has no such checkpoint, its newest is 1" in said.stdout
    for words in (["--checkpoint", "lotgate.pub"], ["--checkpoint", "nowhere"], ["--key", "kept-1.json"],
                  ["--key", "nowhere"], ["--lot", gone, "--checkpoint", "kept-1.json"]):  # fmt: skip
        wrong = run(own, "verify", *words)
        assert (wrong.returncode, wrong.stderr.count("\n")) == (2, 1), wrong.stderr


def test_an_archive_is_held_against_a_checkpoint_of_everything(own: Service, receipt: Receipt) -> None:
    lot = own.submit(receipt()).json()["lot"]
    assert run(own, "audit", "checkpoint", "--out", "kept.json").returncode == 0
    assert run(own, "audit", "export", lot, "--out", "a.zip").returncode == 0
    good = run(own, "audit", "verify", "a.zip", "--checkpoint", "kept.json")
    assert (good.returncode, good.stdout.splitlines()[-1]) == (0, "in checkpoint 1 of everything, up to version 2")
    other = json.loads((own.home / "kept.json").read_text()) | {"lots": 9}
    (own.home / "other.json").write_text(json.dumps(other))
    bad = run(own, "audit", "verify", "a.zip", "--checkpoint", "other.json")
    assert bad.returncode == 1
    assert "kept checkpoint 1" in bad.stdout
