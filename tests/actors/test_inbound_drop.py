"""Files that are dropped: taken whole and once, rejected rows beside why, and nothing that leads elsewhere."""

import io
import os
import resource
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import openpyxl
import pytest
import yaml
from hypothesis import given
from hypothesis import settings as modest
from hypothesis import strategies as st
from sqlalchemy import text

from actors.inbound import tables
from actors.inbound.drop import Dropped, Outcome, Stopped
from actors.inbound.folder import Folder, FolderBusy, FolderUnfit, NoFile, Settling
from actors.inbound.format import Drop, Field, Inbound, Table, load
from actors.inbound.sink import OwnSink
from actors.inbound.tables import FileRefused
from engine.clock import system_clock
from engine.errors import StoreUnavailable
from engine.events import Event
from engine.pipeline import Pipeline
from engine.reference import References
from engine.settings import SHIPPED_RULES, load_settings
from engine.store.opening import Store
from rules.judge import TwoChannelJudge
from rules.rulebook import RuleBook

ROOT = Path(__file__).resolve().parents[2]
RECEIPTS = """
inbound: 1
name: receipts
kind: drop
decimal: ","
drop: {folder: drop, files: "*.csv", settle_s: 0, max_mb: 1, max_rows: 500}
table: {delimiter: ";"}
columns: {lot: text, item: text, quantity: decimal, receipt: text}
event:
  type: lot.received.v1
  source: receiving/gate-2
  subject: ${lot}
  data:
    item: ${item}
    revision: A
    supplier: ACME
    receipt: ${receipt}
    quantity: {value: "${quantity}", unit: ea}
"""
HEADER = "lot;item;quantity;receipt\n"


@pytest.fixture(scope="session")
def rulebook() -> RuleBook:
    return RuleBook.load(SHIPPED_RULES)


@pytest.fixture
def sink(store: Store, rulebook: RuleBook) -> Iterator[OwnSink]:
    judge = TwoChannelJudge(rulebook, channel="reference")
    pipeline = Pipeline(store, judge, rulebook, system_clock)
    references = References(store, system_clock, lambda: rulebook.vocabulary, {})
    yield OwnSink(pipeline, references, threading.Lock(), "inbound/test", lambda: date(2026, 11, 23))
    pipeline.stop()
    judge.close()


class Gate:
    """A drop folder with its inbound file."""

    def __init__(self, home: Path, sink: Any) -> None:
        self.home, self.sink = home, sink
        self.folder = home / "drop"
        self.folder.mkdir()
        self.file = home / "receipts.yaml"
        self.file.write_text(RECEIPTS)
        self.settling = Settling(0.0)

    def change(self, **parts: Any) -> None:
        tree = yaml.safe_load(self.file.read_text())
        for name, value in parts.items():
            tree[name] = {**tree.get(name, {}), **value} if isinstance(value, dict) else value
        self.file.write_text(yaml.safe_dump(tree, sort_keys=False))

    def drop(self, name: str, *lines: str) -> Path:
        path = self.folder / name
        path.write_text(HEADER + "".join(f"{line}\n" for line in lines))
        return path

    def round(self, now: float = 0.0, stopped: Callable[[], bool] = lambda: False) -> list[Outcome]:
        folder = Folder(self.folder)
        try:
            inbound = load(self.file, load_settings({}))
            return Dropped(inbound, self.sink, UTC, self.settling, stopped).round(folder, now)
        finally:
            folder.close()

    def lying(self, room: str = "") -> list[str]:
        return sorted(p.name for p in (self.folder / room).iterdir() if not p.is_dir())


@pytest.fixture
def gate(tmp_path: Path, sink: OwnSink) -> Gate:
    return Gate(tmp_path, sink)


@pytest.fixture
def rows_of(store: Store) -> Callable[[str], int]:
    def count(table: str) -> int:
        with store.reads.connect() as connection:
            return int(connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one())

    return count


def test_a_file_is_taken_and_the_same_file_again_changes_nothing(gate: Gate, rows_of: Callable[[str], int]) -> None:
    seen = set()
    for name, counts in (("monday.csv", {"applied": 2}), ("again.csv", {"known": 2})):
        gate.drop(name, "A;RING-74;10,5;G1", "B;RING-74;7;G2")
        (outcome,) = gate.round()
        assert outcome.counts == counts
        seen.add((rows_of("journal"), rows_of("events"), rows_of("deliveries")))
    assert len(seen) == 1
    assert gate.lying() == gate.lying("taken") == gate.lying("rejected") == []
    stems = {name.rpartition("-")[2] for name in gate.lying("archive")}
    assert len(gate.lying("archive")) == 2
    assert len(stems) == 1, "the same content has the same digest"
    gate.drop("monday.csv", "A;RING-74;10,5;G1", "B;RING-74;7;G2")
    gate.round()
    assert len(gate.lying("archive")) == 2, "the same file is kept once"


def test_two_equal_rows_of_one_file_have_one_effect(gate: Gate, rows_of: Callable[[str], int]) -> None:
    gate.drop("twice.csv", "A;RING-74;10;G1", "A;RING-74;10;G1")
    (outcome,) = gate.round()
    assert outcome.counts == {"applied": 1, "known": 1}
    assert rows_of("lots") == 1


def test_rejected_rows_lie_beside_why_and_can_be_mended_and_dropped_again(gate: Gate) -> None:
    gate.drop("mixed.csv", "A;RING-74;10;G1", "B;RING-74;x;G2", "C;RING-74;5;G3;more", ";RING-74;5;G4")
    (outcome,) = gate.round()
    assert outcome.counts == {"applied": 1, "rejected": 3}
    table, report = sorted(gate.lying("rejected"), key=len)
    assert report == table.removesuffix(".csv") + ".errors.csv"
    lines = (gate.folder / "rejected" / report).read_text("utf-8-sig").splitlines()
    assert lines[0] == "row,column,why"
    assert lines[1].startswith("3,quantity,\"'x' is no number")
    assert lines[2] == '4,,"it has 5 cells, and there are 4 columns"'
    assert lines[3].startswith("5,subject,is empty")
    rejected = (gate.folder / "rejected" / table).read_text("utf-8-sig")
    assert rejected.splitlines() == [HEADER.strip(), "B;RING-74;x;G2", "C;RING-74;5;G3;more", ";RING-74;5;G4"]
    mended = rejected.replace(";x;", ";6;").replace(";more", "").replace("\n;", "\nD;")
    (gate.folder / "mended.csv").write_text(mended, newline="")
    assert gate.round()[0].counts == {"applied": 3}


def test_rows_that_are_one_event_go_together_or_not_at_all(
    gate: Gate, rows_of: Callable[[str], int], store: Store
) -> None:
    gate.drop("lots.csv", "A;RING-74;10;G1", "B;RING-74;10;G2")
    gate.round()
    data = {"inspection": "IL-${lot}", "record": "${record}",
            "measurements": [{"characteristic": "diameter", "sample": "${sample}", "value": "${value}", "unit": "mm"}]}
    tree = yaml.safe_load(gate.file.read_text())
    event = {"type": "inspection.recorded.v1", "source": "lims", "subject": "${lot}", "data": data}
    tree |= {"group_by": ["lot", "record"], "event": event,
             "columns": {"lot": "text", "record": "text", "sample": "integer", "value": "decimal"}}  # fmt: skip
    gate.file.write_text(yaml.safe_dump(tree))
    lines = [f"{lot};{record};{n};74,00{n}" for n in range(1, 6) for lot, record in (("A", "R1"), ("B", "R2"))]
    content = "lot;record;sample;value\n" + "\n".join(lines)
    (gate.folder / "results.csv").write_text(content.replace("B;R2;4;74,004", "B;R2;4;74,004;?"))
    (outcome,) = gate.round()
    assert outcome.counts == {"applied": 1, "rejected": 5}
    assert [one.detail for one in outcome.wrong][2:4] == [
        "it is one event with row 9, which cannot be used", "it has 5 cells, and there are 4 columns",
    ]  # fmt: skip
    assert rows_of("results") == 1
    (gate.folder / "mended.csv").write_text(content)
    assert gate.round()[0].counts == {"known": 1, "applied": 1}
    with store.reads.connect() as connection:
        states = connection.execute(text("SELECT state FROM lots ORDER BY id")).scalars().all()
    assert states == ["released", "released"]


def test_a_file_that_says_something_else_under_a_known_document_is_refused(gate: Gate) -> None:
    gate.drop("one.csv", "A;RING-74;10;G1")
    gate.round()
    gate.drop("two.csv", "A;RING-74;11;G1")
    (outcome,) = gate.round()
    assert outcome.counts == {"rejected": 1}
    assert "id" in outcome.wrong[0].detail


def test_a_file_that_is_still_being_written_is_not_taken(gate: Gate) -> None:
    gate.settling = Settling(5.0)
    path = gate.drop("slow.csv", "A;RING-74;10;G1")
    assert gate.round(100.0) == gate.round(104.0) == []
    with path.open("a") as more:
        more.write("B;RING-74;10;G2\n")
    assert gate.round(106.0) == gate.round(110.0) == [], "it has changed: it waits anew"
    assert gate.round(111.0)[0].counts == {"applied": 2}


KILLED = """
import os, signal, sys, threading
from datetime import UTC, date
from pathlib import Path
from actors.inbound.drop import Dropped
from actors.inbound.folder import Folder, Settling
from actors.inbound.format import Drop, Field, Inbound, Table, load
from actors.inbound.sink import OwnSink
from engine.clock import system_clock
from engine.pipeline import Pipeline
from engine.settings import SHIPPED_RULES, load_settings
from engine.store.opening import open_store
from rules.judge import TwoChannelJudge
from rules.rulebook import RuleBook
home = Path(sys.argv[1])
store, book = open_store("", home), RuleBook.load(SHIPPED_RULES)
pipeline = Pipeline(store, TwoChannelJudge(book, channel="reference"), book, system_clock)
sink = OwnSink(pipeline, None, threading.Lock(), "inbound/test", lambda: date(2026, 11, 23))
class Folder(Folder):
    def archive(self, name, as_):
        os.kill(os.getpid(), signal.SIGKILL)
inbound = load(home / "receipts.yaml", load_settings({}))
Dropped(inbound, sink, UTC, Settling(0.0)).round(Folder(home / "drop"), 0.0)
"""


def test_killed_between_the_rows_and_the_archive_it_is_taken_again_without_a_second_effect(
    gate: Gate, rows_of: Callable[[str], int]
) -> None:
    gate.drop("killed.csv", "A;RING-74;10;G1", "B;RING-74;x;G2")
    done = subprocess.run([sys.executable, "-c", KILLED, str(gate.home)], cwd=ROOT, capture_output=True, timeout=60)
    assert done.returncode == -9, done.stderr.decode()[-2000:]
    assert (rows_of("lots"), gate.lying("taken"), gate.lying("archive")) == (1, ["killed.csv"], [])
    reports = {p.name: p.read_bytes() for p in (gate.folder / "rejected").iterdir()}
    entries = rows_of("journal")
    (outcome,) = gate.round()
    assert outcome.counts == {"known": 1, "rejected": 1}
    assert rows_of("journal") == entries
    assert (gate.lying("taken"), len(gate.lying("archive"))) == ([], 1)
    assert {p.name: p.read_bytes() for p in (gate.folder / "rejected").iterdir()} == reports


def test_what_leads_elsewhere_is_never_taken(gate: Gate, tmp_path: Path) -> None:
    secret = tmp_path / "secret.csv"
    secret.write_text(HEADER + "S;RING-74;1;G1\n")
    (gate.folder / "link.csv").symlink_to(secret)
    os.mkfifo(gate.folder / "pipe.csv")
    (gate.folder / "sub.csv").mkdir()
    (gate.folder / ".hidden.csv").write_text(HEADER)
    assert gate.round() == []
    folder = Folder(gate.folder)
    assert folder.refused("*.csv") == ["link.csv", "pipe.csv"]
    folder.close()
    # Exchanged in the last moment: it is moved as the link that it is.
    os.rename(gate.folder / "link.csv", gate.folder / "taken" / "link.csv")
    (outcome,) = gate.round()
    assert "is a link" in outcome.problem
    assert (gate.folder / "rejected" / "link.csv").is_symlink()
    assert secret.exists()


def test_a_name_that_is_no_text_stops_nothing(gate: Gate) -> None:
    name = os.fsdecode(b"M\xe4rz\n2026" + b"x" * 200 + b".csv")
    (gate.folder / name).write_text(HEADER + "A;RING-74;10;G1\n")
    (outcome,) = gate.round()
    assert outcome.counts == {"applied": 1}
    outcome.name.encode()
    (kept,) = gate.lying("archive")
    assert kept == outcome.kept
    assert kept.startswith("M\ufffdrz?2026xx")


def test_a_room_that_is_a_link_is_refused(gate: Gate, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (gate.folder / "archive").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FolderUnfit, match="archive cannot be used as a folder"):
        gate.round()


def test_one_process_at_a_time_is_in_a_folder(gate: Gate) -> None:
    first = Folder(gate.folder)
    with pytest.raises(FolderBusy):
        Folder(gate.folder)
    first.close()
    Folder(gate.folder).close()


def test_a_database_that_is_away_leaves_the_file_for_the_next_time(gate: Gate, sink: OwnSink) -> None:
    class Away:
        def events(self, events: Sequence[Event]) -> list[Any]:
            raise StoreUnavailable("The database did not commit.")

    gate.drop("later.csv", "A;RING-74;10;G1")
    gate.sink = Away()
    with pytest.raises(StoreUnavailable):
        gate.round()
    with pytest.raises(Stopped):
        gate.round(stopped=lambda: True)
    assert gate.lying("taken") == ["later.csv"]
    gate.sink = sink
    assert gate.round()[0].counts == {"applied": 1}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"lot;item;quantity\nA;RING-74;1\n", "it has no column receipt; its header has lot, item, quantity"),
        (b"lot;lot;item;quantity;receipt\n", "it has more than one column lot"),
        (b"\xff\xfe" + HEADER.encode("utf-16-le"), "it is not utf-8"),
        (HEADER.encode() + b'A;"RING;1;G1\n', "is not CSV"),
        (HEADER.encode() + b"A;\x00;1;G1\n", "it has zero bytes"),
        (HEADER.encode() + b"A;RING-74;1;G1\n" * 501, "it has more than 500 rows"),
        (HEADER.encode() + b"x" * 1_000_000, "at most 1000000 are read"),
        (b"", "it has no column lot; its header has nothing"),
    ],
)
def test_a_file_of_which_nothing_can_be_used_is_put_away_whole(
    gate: Gate, rows_of: Callable[[str], int], content: bytes, words: str
) -> None:
    (gate.folder / "bad.csv").write_bytes(content)
    (outcome,) = gate.round()
    assert words in outcome.problem
    assert len(gate.lying("rejected")) == 2
    assert gate.lying("taken") == gate.lying("archive") == []
    assert rows_of("events") == 0


def test_fixed_width_is_read_by_characters(gate: Gate) -> None:
    fields = [{"name": n, "at": at, "width": w} for n, at, w in
              (("lot", 1, 6), ("item", 7, 8), ("quantity", 15, 7), ("receipt", 22, 4))]  # fmt: skip
    gate.change(table={"format": "fixed", "delimiter": ",", "encoding": "latin-1", "skip": 1, "fields": fields},
                drop={"files": "*.txt"})  # fmt: skip
    lines = ["HEAD", "Lü-1  RING-74    10,5G1", "Lü-2  RING-74       7G2", "Lü-3  RING-74       7G3  junk", ""]
    (gate.folder / "F.TXT").write_bytes("\r\n".join(lines).encode("latin-1"))
    (outcome,) = gate.round()
    assert outcome.counts == {"applied": 2, "rejected": 1}
    assert outcome.wrong[0].row == 4
    assert "'junk' stands behind the last column" in outcome.wrong[0].detail


def sheet(*rows: Sequence[Any], name: str = "Results") -> bytes:
    book = openpyxl.Workbook()
    book.active.title = name
    for line in rows:
        book.active.append(line)
        for cell in book.active[book.active.max_row]:
            # A text that looks like a formula, as somebody types it behind an apostrophe.
            cell.data_type = "s" if cell.data_type == "f" else cell.data_type
    to = io.BytesIO()
    book.save(to)
    return to.getvalue()


def test_a_sheet_is_read_with_its_own_numbers_and_days(gate: Gate) -> None:
    gate.change(
        table={"format": "xlsx", "delimiter": ",", "sheet": "Results"}, drop={"files": "*.xlsx"},
        columns={"made": "date"}, event={"data": {**yaml.safe_load(RECEIPTS)["event"]["data"],
                                                  "manufactured_on": "${made}"}},
    )  # fmt: skip
    head = ("lot", "item", "quantity", "receipt", "made")
    day = datetime(2026, 11, 2)  # noqa: DTZ001 - sheets know no zones
    # 0.1 + 0.2 is what a formula leaves behind: fifteen digits are what the sheet shows.
    rows = [("A", "RING-74", 0.1 + 0.2, 4711, day), ("B", "RING-74", "10,5", "G2", None),
            ("C", "=1+1", "#N/A", "G3", None)]  # fmt: skip
    (gate.folder / "lab.xlsx").write_bytes(sheet(head, *rows))
    (outcome,) = gate.round()
    assert outcome.counts == {"applied": 2, "rejected": 1}
    rejected = next(n for n in gate.lying("rejected") if n.endswith(".xlsx"))
    again = openpyxl.load_workbook(gate.folder / "rejected" / rejected)["Results"]
    assert [(c.value, c.data_type) for c in again[2]][:2] == [("C", "s"), ("=1+1", "s")]
    (gate.folder / "wrong.xlsx").write_bytes(sheet(head, name="Other"))
    assert "it has no sheet Results; there are Other" in gate.round()[0].problem


@modest(max_examples=60, deadline=None)
@given(content=st.one_of(st.binary(max_size=300), st.text(max_size=200).map(str.encode)), data=st.data())
def test_whatever_is_dropped_is_read_or_refused(content: bytes, data: st.DataObject) -> None:
    """Anything else would stay in the folder for ever and hold up what comes behind it."""
    form = data.draw(st.sampled_from(["csv", "fixed", "xlsx"]))
    encoding = data.draw(st.sampled_from(["utf-8-sig", "cp1252", "utf-16", "idna", "punycode"]))
    fields = [Field("lot", 1, 5)] if form == "fixed" else []
    names = ["lot"] if form != "fixed" and data.draw(st.booleans()) else []
    inbound = Inbound(1, "n", "drop", {"lot": "text"}, Drop("x"), Table(form, encoding, ";", 0, names, fields))
    if form == "xlsx":
        good = bytearray(sheet(("lot",), ("A",)))
        at = data.draw(st.integers(0, len(good) - 1))
        good[at : at + len(content) // 20] = content[: len(content) // 20]
        content = bytes(good)
    with suppress(FileRefused):
        found = tables.read(inbound, io.BytesIO(content))
        tables.write(inbound, found, found.rows, io.BytesIO())


@pytest.mark.parametrize("form", ["csv", "fixed", "xlsx"])
def test_a_disk_that_cannot_be_read_is_not_the_fault_of_the_file(form: str) -> None:
    """It stays where it is, and is taken when the disk is well again."""
    fields = [Field("lot", 1, 5)] if form == "fixed" else []
    inbound = Inbound(1, "n", "drop", {"lot": "text"}, Drop("x"), Table(form, "utf-8", ",", 0, [], fields))
    # The kernel answers a read of it at its beginning with an input/output error.
    with open("/proc/self/mem", "rb", buffering=0) as broken, pytest.raises(OSError, match="Input/output error"):
        tables.read(inbound, broken)


def test_a_process_without_a_file_descriptor_left_puts_no_good_file_away(gate: Gate) -> None:
    (gate.folder / "a.csv").write_text(HEADER + "A;RING-74;1;GR-A\n")
    few, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    folder = Folder(gate.folder)
    folder.take("a.csv")
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, most))
    try:
        with pytest.raises(FolderUnfit, match="Too many open files") as wrong:
            folder.read("a.csv")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (few, most))
        folder.close()
    assert not isinstance(wrong.value, NoFile), "that would put it away as rejected"
    assert gate.lying("rejected") == []


def bomb(declared: int, entity: bool = False) -> bytes:
    to = io.BytesIO()
    good = io.BytesIO(sheet(("lot", "item", "quantity", "receipt")))
    with zipfile.ZipFile(good) as parts, zipfile.ZipFile(to, "w", zipfile.ZIP_DEFLATED) as packed:
        for part in parts.namelist():
            content = parts.read(part)
            if entity and part.endswith("sheet1.xml"):
                content = b'<!DOCTYPE w [<!ENTITY a "aaaa">]>' + content
            packed.writestr(part, content)
        packed.writestr("xl/media/zeros", b"\0" * declared)
    return to.getvalue()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (bomb(20_000_000), "and none of its kind does"),
        (bomb(10, entity=True), "it cannot be read as XLSX: EntitiesForbidden"),
        (b"PK\x03\x04 not really", "it is no XLSX file"),
        (b"\xd0\xcf\x11\xe0 an old .xls", "it is no XLSX file"),
    ],
)
def test_a_bomb_or_what_is_no_sheet_is_not_unpacked(gate: Gate, content: bytes, words: str) -> None:
    gate.change(table={"format": "xlsx", "delimiter": ","}, drop={"files": "*.xlsx"})
    (gate.folder / "bad.xlsx").write_bytes(content)
    (outcome,) = gate.round()
    assert words in outcome.problem
    assert tables.BOUNDS.freely_bytes < 20_000_000


def test_records_of_reference_data_without_a_day_hold_from_the_day_they_are_first_seen(gate: Gate) -> None:
    tree = yaml.safe_load(gate.file.read_text())
    del tree["event"]
    tree |= {"columns": {"supplier": "text", "status": "text"}, "table": {}}
    tree["record"] = {
        "kind": "fact", "key": "scar-${supplier}",
        "content": {"kind": "corrective_action", "supplier": "${supplier}",
                    "fields": {"number": "S-${supplier}", "status": "${status}"}},
    }  # fmt: skip
    gate.file.write_text(yaml.safe_dump(tree))
    for counts in ({"created": 1, "rejected": 1}, {"unchanged": 1, "rejected": 1}):
        (gate.folder / "approved.csv").write_text("supplier,status\nACME,open\n,open\n")
        (outcome,) = gate.round()
        assert outcome.counts == counts, outcome.wrong
