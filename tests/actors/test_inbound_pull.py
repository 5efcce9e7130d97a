"""Lists that are fetched from a real HTTP server in its own process: paged, repeated, failing, and never half read."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import pytest
import yaml
from sqlalchemy import text

from actors.connectors.format import ConnectorInvalid
from actors.inbound import pull
from actors.inbound.drop import Stopped
from actors.inbound.format import load
from actors.inbound.pull import Fetching, PullFailed, due_after, since
from actors.inbound.sink import OwnSink
from actors.inbound.watch import Around, Inlet
from engine.errors import StoreUnavailable
from engine.pipeline import Pipeline
from engine.reference import References
from engine.settings import SHIPPED_RULES, Settings, load_settings
from engine.standing import Standing
from engine.store.opening import Store
from engine.tasks import Tasks
from rules.judge import TwoChannelJudge
from rules.rulebook import RuleBook

SCARS: dict[str, Any] = {
    "inbound": 1, "name": "scars", "kind": "pull", "every_s": 60,
    "pull": {"base_url": "${url.erp}", "path": "/list?cursor=${cursor}", "paging": "cursor", "items": "data.rows",
             "headers": {"X-Api-Key": "${secret.erp_key}"}, "attempts": 3, "timeout_s": 2},
    "columns": {"supplier.id": "text", "number": "text", "open": {"type": "yes_no"}},
    "record": {"kind": "fact", "key": "scar-${supplier.id}", "content": {
        "kind": "corrective_action", "supplier": "${supplier.id}", "fields": {"number": "${number}", "status": "open"}}},
}  # fmt: skip
RECEIPTS: dict[str, Any] = {
    "inbound": 1, "name": "receipts", "kind": "pull",
    "pull": {"base_url": "${url.erp}", "path": "/list?since=${since}&cursor=${cursor}", "paging": "cursor",
             "items": "data.rows", "headers": {"X-Api-Key": "${secret.erp_key}"}, "attempts": 2,
             "watermark": {"member": "changed_at", "overlap": 600}},
    "columns": {"lot": "text", "quantity": "decimal"},
    "event": {"type": "lot.received.v1", "source": "erp/receipts", "subject": "${lot}", "data": {
        "item": "RING-74", "revision": "A", "supplier": "ACME", "receipt": "GR-${lot}",
        "quantity": {"value": "${quantity}", "unit": "ea"}}},
}  # fmt: skip


def scar(supplier: int, **more: Any) -> dict[str, Any]:
    return {"supplier": {"id": f"S{supplier}"}, "number": f"N-{supplier}", **more}


def arrival(lot: str, at: str, quantity: Any = 1.5) -> dict[str, Any]:
    return {"lot": lot, "quantity": quantity, "changed_at": at}


@pytest.fixture(scope="module")
def system_process() -> Iterator[str]:
    program = Path(__file__).with_name("listing.py")
    process = subprocess.Popen([sys.executable, str(program)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
    process.kill()
    process.wait(5)
    process.stdout.close()


class System:
    """The foreign system, as the test sees it."""

    def __init__(self, url: str) -> None:
        self.url = url

    def has(self, *rows: Any, **how: Any) -> None:
        httpx.post(f"{self.url}/_set", json={"rows": rows, "key": "s3cret", **how}).raise_for_status()

    @property
    def heard(self) -> list[str]:
        return [line["path"] for line in httpx.get(f"{self.url}/_heard").json()]


@pytest.fixture
def system(system_process: str) -> System:
    return System(system_process)


class Clock:
    def __init__(self) -> None:
        self.now = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


class Works:
    """The clock process's part, with a clock that is moved."""

    def __init__(self, home: Path, store: Store, url: str) -> None:
        self.home, self.store, self.clock = home, store, Clock()
        self.settings: Settings = load_settings(
            {"LOTGATE_INBOUND": str(home / "inbound"), "LOTGATE_URL_ERP": f"{url}/erp",
             "LOTGATE_SECRET_ERP_KEY": "s3cret"}
        )  # fmt: skip
        (home / "inbound").mkdir()
        book = RuleBook.load(SHIPPED_RULES)
        self.judge = TwoChannelJudge(book, channel="reference")
        self.pipeline = Pipeline(store, self.judge, book, self.clock)
        self.references = References(store, self.clock, lambda: book.vocabulary, {})
        self.standing, self.tasks = Standing(store, self.clock), Tasks(store, self.clock)
        self.stopped = False
        self.sinks: list[OwnSink] = []

    def sink(self, by: str) -> OwnSink:
        self.sinks.append(OwnSink(self.pipeline, self.references, threading.Lock(), by, self.today))
        return self.sinks[-1]

    def today(self) -> date:
        return self.clock.now.date()

    def write(self, tree: dict[str, Any], **parts: Any) -> Inlet:
        tree = {**tree, **{n: {**tree.get(n, {}), **v} if isinstance(v, dict) else v for n, v in parts.items()}}
        path = self.home / "inbound" / f"{tree['name']}.yaml"
        path.write_text(yaml.safe_dump(tree, sort_keys=False))
        return Inlet(path, Around(self.settings, self.standing, self.tasks, self.sink, self.clock, self.today, UTC,
                                  lambda: self.stopped))  # fmt: skip

    def again(self, inlet: Inlet, **later: float) -> None:
        self.clock.now += timedelta(**later)
        inlet.look()

    def open(self, kind: str) -> list[str]:
        return [task.detail for task in self.tasks.lines(kind=kind)]

    def records(self) -> list[str]:
        return [r.key for r in self.references.page("fact", self.today().isoformat(), None, "", 100)[0]]

    def count(self, table: str) -> int:
        with self.store.reads.connect() as connection:
            return int(connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one())


@pytest.fixture
def works(tmp_path: Path, store: Store, system: System, monkeypatch: pytest.MonkeyPatch) -> Iterator[Works]:
    monkeypatch.setattr(pull, "FIRST_WAIT_SECONDS", 0.01)
    made = Works(tmp_path, store, system.url)
    yield made
    made.pipeline.stop()
    made.judge.close()


@pytest.mark.parametrize(
    ("paging", "path", "calls"),
    [("cursor", "/list?cursor=${cursor}", 3), ("page", "/list?page=${page}", 4),
     ("offset", "/list?offset=${offset}", 4), ("link", "/list", 3)],
)  # fmt: skip
def test_every_page_is_fetched(works: Works, system: System, paging: str, path: str, calls: int) -> None:
    system.has(*(scar(n) for n in range(5)), paging=paging)
    works.write(SCARS, pull={"paging": paging, "path": path}).look()
    assert works.records() == [f"scar-S{n}" for n in range(5)]
    assert len(system.heard) == calls
    assert all(heard.startswith("/erp/list") for heard in system.heard)
    assert works.standing.of("scars", "pull").lines == 5


def test_it_is_fetched_when_it_is_due_and_the_same_again_changes_nothing(works: Works, system: System) -> None:
    system.has(scar(1))
    inlet = works.write(SCARS)
    inlet.look()
    works.again(inlet, seconds=59)
    assert len(system.heard) == 1
    works.again(inlet, seconds=2)
    works.again(inlet, days=3)
    assert len(system.heard) == 3
    assert works.count("reference") == 1


def test_a_change_of_the_list_is_another_revision_from_its_day_on(works: Works, system: System) -> None:
    system.has(scar(1))
    inlet = works.write(SCARS)
    inlet.look()
    system.has(scar(1, number="N-other"))
    works.again(inlet, days=1)
    revisions = works.references.revisions("fact", "scar-S1")
    assert [(r.revision, r.effective_from) for r in revisions] == [(1, "2026-11-23"), (2, "2026-11-24")]
    assert revisions[1].recorded_by == "inbound/scars"


def test_what_the_whole_list_lacks_is_withdrawn_but_never_more_than_is_believed(works: Works, system: System) -> None:
    system.has(*(scar(n) for n in range(4)))
    inlet = works.write(SCARS, record={"withdraw_at_most": 1})
    inlet.look()
    system.has(*(scar(n) for n in range(3)))
    works.again(inlet, days=1)
    assert works.records() == ["scar-S0", "scar-S1", "scar-S2"]
    for fewer in ([scar(0)], []):
        system.has(*fewer)
        works.again(inlet, days=1)
        assert works.records() == ["scar-S0", "scar-S1", "scar-S2"]
    assert "records would be withdrawn, such as scar-S" in works.open("inbound-failing")[0]
    system.has(scar(0), scar(1), scar(2))
    works.again(inlet, days=1)
    assert works.open("inbound-failing") == []


def test_what_was_first_seen_today_is_withdrawn_from_tomorrow_on(works: Works, system: System) -> None:
    system.has(scar(0), scar(1))
    inlet = works.write(SCARS, record={"withdraw_at_most": 1})
    inlet.look()
    system.has(scar(0))
    works.again(inlet, minutes=2)
    assert works.records() == ["scar-S0", "scar-S1"]
    works.clock.now += timedelta(days=1)
    assert works.records() == ["scar-S0"]
    assert works.open("inbound-failing") == []


def test_a_row_that_is_wrong_spoils_itself_only_and_withdraws_nothing(works: Works, system: System) -> None:
    system.has(scar(1), scar(2))
    inlet = works.write(SCARS, record={"withdraw_at_most": 5})
    inlet.look()
    system.has(scar(1), {"supplier": {"id": None}, "number": "N-2"}, "nonsense", {"supplier": {"id": ["S3"]}})
    works.again(inlet, days=1)
    assert works.records() == ["scar-S1", "scar-S2"]
    assert works.standing.of("scars", "pull").rejected == 3
    assert "such as row 2: is empty" in works.open("inbound-rejected")[0]
    system.has(scar(1), scar(2))
    works.again(inlet, days=1)
    assert works.open("inbound-rejected") == []


def test_a_watermark_moves_with_an_overlap_and_rows_that_come_again_change_nothing(
    works: Works, system: System
) -> None:
    rows = [arrival("A", "2026-11-23T07:00:00Z"), arrival("B", "2026-11-23T07:30:00Z"),
            arrival("C", "2026-11-23T07:20:00Z")]  # fmt: skip
    system.has(*rows)
    inlet = works.write(RECEIPTS)
    inlet.look()
    assert works.standing.of("receipts", "pull").watermark == "2026-11-23T07:30:00+00:00"
    entries = works.count("journal")
    works.again(inlet, seconds=20)
    assert "since=2026-11-23T07%3A20%3A00Z" in system.heard[-1]
    assert works.count("journal") == entries
    with works.store.reads.connect() as connection:
        quantities = connection.execute(text("SELECT DISTINCT quantity FROM lots")).scalars().all()
    assert len(quantities) == 1


def test_a_row_from_the_future_hides_nothing(works: Works, system: System) -> None:
    system.has(arrival("A", "2031-01-01T00:00:00Z"))
    works.write(RECEIPTS).look()
    assert works.standing.of("receipts", "pull").watermark == "2026-11-23T08:00:00+00:00"


def test_a_page_that_fails_leaves_the_watermark_and_the_next_time_does_the_rest(
    works: Works, system: System
) -> None:
    rows = [arrival(lot, f"2026-11-23T07:0{n}:00Z") for n, lot in enumerate("ABC")]
    system.has(*rows, faults=[None, 500, 500])
    inlet = works.write(RECEIPTS)
    inlet.look()
    stand = works.standing.of("receipts", "pull")
    assert (works.count("lots"), stand.watermark, stand.failures) == (2, None, 1)
    assert "it answers 500" in works.open("inbound-failing")[0]
    works.again(inlet, minutes=1)
    stand = works.standing.of("receipts", "pull")
    assert (works.count("lots"), stand.watermark, stand.failures) == (3, "2026-11-23T07:02:00+00:00", 0)
    assert works.open("inbound-failing") == []


def test_a_row_that_could_be_mended_holds_the_watermark_and_a_decision_does_not(works: Works, system: System) -> None:
    system.has(arrival("A", "2026-11-23T07:00:00Z"), arrival("B", "2026-11-23T07:01:00Z", quantity="many"))
    inlet = works.write(RECEIPTS)
    inlet.look()
    assert works.standing.of("receipts", "pull").watermark is None
    system.has(arrival("A", "2026-11-23T07:00:00Z", 9), arrival("B", "2026-11-23T07:01:00Z"))
    works.again(inlet, seconds=20)
    # A says something else under its receipt's number: refused for ever, and said.
    assert works.standing.of("receipts", "pull").watermark == "2026-11-23T07:01:00+00:00"
    assert works.standing.of("receipts", "pull").rejected == 1


def test_what_passes_is_tried_again_and_what_the_system_asks_is_waited(works: Works, system: System) -> None:
    system.has(scar(1), faults=[503, "close"], headers={"Retry-After": "1"})
    works.write(SCARS).look()
    assert works.records() == ["scar-S1"]
    assert len(system.heard) == 3


@pytest.mark.parametrize(
    ("how", "words", "calls"),
    [
        ({"key": "another"}, "it does not accept our key (401): {\"error\": \"not with ***\"}", 1),
        ({"faults": [404]}, "it answers 404", 1),
        ({"faults": [302], "headers": {"Location": "http://169.254.169.254/"}}, "which is not followed", 1),
        ({"faults": [200], "body": "text"}, "the answer has no list data.rows", 1),
        ({"faults": [200], "body": {"data": {"rows": 7}}}, "the answer has no list data.rows", 1),
        ({"paging": "link", "link": "http://169.254.169.254/latest"}, "another system, which is not called", 1),
        ({"paging": "link", "link": "//elsewhere.example/x"}, "another system, which is not called", 1),
        ({"paging": "link", "link": "/erp/list"}, "its list does not end", 1),
    ],
)
def test_what_does_not_pass_is_said_once_and_tried_later(
    works: Works, system: System, how: dict[str, Any], words: str, calls: int
) -> None:
    system.has(*(scar(n) for n in range(3)), **how)
    paging = {"paging": "link", "path": "/list"} if how.get("paging") == "link" else {}
    inlet = works.write(SCARS, pull=paging)
    for _ in range(2):
        inlet.look()
    assert len(system.heard) == calls, "not due again at once"
    (said,) = works.open("inbound-failing")
    assert words in said
    assert "s3cret" not in said
    assert words in str(works.standing.of("scars", "pull").problem)


OAUTH = {"kind": "oauth2", "token_url": "/token", "client_id": "us", "client_secret": "${secret.erp_key}", "client": "form"}


def test_one_token_is_fetched_for_every_page(works: Works, system: System) -> None:
    system.has(*(scar(n) for n in range(5)))
    works.write(SCARS, pull={"headers": {}, "auth": OAUTH, "per_second": 50}).look()
    assert len(works.records()) == 5
    assert system.heard == ["/erp/token", "/erp/list?cursor=", "/erp/list?cursor=2", "/erp/list?cursor=4"]
    assert works.open("inbound-failing") == []


def test_a_client_that_is_not_accepted_is_said_to_be(works: Works, system: System) -> None:
    system.has(scar(1))
    works.write(SCARS, pull={"headers": {}, "auth": {**OAUTH, "client_secret": "wrong"}}).look()
    (said,) = works.open("inbound-failing")
    assert "it does not accept our key: the token endpoint answered 400 and gave no token" in said
    assert system.heard == ["/erp/token"]


def test_two_processes_fetch_it_once(works: Works, system: System) -> None:
    system.has(scar(1))
    first, second = works.write(SCARS), works.write(SCARS)
    first.look()
    second.look()
    assert len(system.heard) == 1


def test_a_process_that_stops_or_a_database_that_is_away_loses_nothing(works: Works, system: System) -> None:
    system.has(arrival("A", "2026-11-23T07:00:00Z"))
    inlet = works.write(RECEIPTS)
    works.stopped = True
    inlet.look()
    assert (system.heard, works.standing.of("receipts", "pull").due_at) == ([], 0.0)
    works.stopped = False

    class Away:
        def events(self, _: Any) -> Any:
            raise StoreUnavailable("The database did not commit.")

    fetching = Fetching(load(works.home / "inbound" / "receipts.yaml", works.settings), UTC, works.clock)
    with pytest.raises(StoreUnavailable):
        fetching.run(Away(), None)  # type: ignore[arg-type]
    fetching.close()
    inlet.look()
    assert works.count("lots") == 1


def test_a_file_that_is_wrong_is_a_task_and_mended_without_a_restart(works: Works, system: System) -> None:
    system.has(scar(1))
    inlet = works.write(SCARS, record={"kind": "fakt"})
    inlet.look()
    assert "there is no kind of reference data fakt" in works.open("inbound-failing")[0]
    works.write(SCARS)
    inlet._next_at = 0.0
    works.again(inlet, minutes=1)
    assert (works.open("inbound-failing"), works.records()) == ([], ["scar-S1"])


def test_a_folder_is_watched_and_what_was_not_taken_is_a_task(works: Works, tmp_path: Path) -> None:
    tree = {key: value for key, value in RECEIPTS.items() if key != "pull"}
    tree |= {"kind": "drop", "every_s": 0.2, "drop": {"folder": str(tmp_path / "lab"), "settle_s": 0}}
    inlet = works.write(tree)
    inlet.look()
    assert "cannot be used as a folder" in works.open("inbound-failing")[0]
    (tmp_path / "lab").mkdir()
    (tmp_path / "lab" / "a.csv").write_text("lot,quantity\nA,1\nB,x\n")
    (tmp_path / "lab" / "b.csv").symlink_to(tmp_path / "secret")
    inlet._next_at = 0.0
    inlet.look()
    assert works.open("inbound-failing") == []
    said = sorted(works.open("inbound-rejected"))
    assert said[0].startswith("a.csv: 2 rows: 1 applied, 1 rejected, such as row 3: 'x' is no number")
    assert "b.csv in" in said[1]
    assert (works.count("lots"), works.standing.of("receipts", "drop").rejected) == (1, 1)


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ({"base_url": "${url.nowhere}"}, "names one that is not set"),
        ({"base_url": "file:///etc/passwd"}, "is no http or https address"),
        ({"headers": {"X-Api-Key": "${secret.none}"}}, "${secret.none} is not set; set LOTGATE_SECRET_NONE"),
        ({"path": "/list"}, "paging by cursor needs ${cursor}"),
        ({"path": "/list?cursor=${cursor}&p=${page}"}, "${page} is for paging: page"),
        ({"path": "/list?cursor=${cursor}&s=${since}"}, "a watermark and ${since} in the path belong together"),
        ({"path": "/list?cursor=${cursor}&k=${secret.erp_key}"}, "${secret.erp_key} is not known"),
        ({"watermark": {"member": "n", "type": "integer"}}, "say from which number it starts"),
        ({"auth": {"kind": "basic", "user": "u", "password": "${secret.none}"}}, "pull.auth.password: ${secret.none} is not"),
    ],
)
def test_a_mistake_in_a_pull_is_named(works: Works, parts: dict[str, Any], words: str) -> None:
    works.write(SCARS, pull=parts)
    with pytest.raises(ConnectorInvalid) as error:
        load(works.home / "inbound" / "scars.yaml", works.settings)
    assert words in error.value.detail
    assert error.value.detail.startswith("scars.yaml:")


def test_a_whole_number_is_a_watermark_too(works: Works) -> None:
    mark = pull.Watermark("id", "integer", 5, "0")
    assert [since(mark, at) for at in (None, "3", "20")] == ["0", "0", "15"]


def test_daily_is_at_the_same_time_on_the_day_on_which_clocks_change(works: Works) -> None:
    berlin = ZoneInfo("Europe/Berlin")
    works.write(SCARS, daily_at="02:30")
    inbound = load(works.home / "inbound" / "scars.yaml", works.settings)
    for now in ("2026-10-24T12:00:00+02:00", "2026-10-25T12:00:00+01:00", "2026-10-26T02:30:00+01:00"):
        due = datetime.fromtimestamp(due_after(inbound, datetime.fromisoformat(now), berlin), berlin)
        assert (due.hour, due.minute) == (2, 30)
        assert due > datetime.fromisoformat(now)


def test_a_pull_ends_when_it_is_told(works: Works, system: System) -> None:
    system.has(scar(1), faults=[503], headers={"Retry-After": "30"})
    works.write(SCARS)
    asked = iter((False, True, True))
    fetching = Fetching(
        load(works.home / "inbound" / "scars.yaml", works.settings), UTC, works.clock, lambda: next(asked)
    )
    with pytest.raises(Stopped):
        list(fetching.pages(""))
    fetching.close()


def test_a_list_longer_than_it_may_be_is_refused(works: Works, system: System) -> None:
    system.has(*(scar(n) for n in range(9)))
    works.write(SCARS, pull={"max_pages": 2})
    fetching = Fetching(load(works.home / "inbound" / "scars.yaml", works.settings), UTC, works.clock)
    with pytest.raises(PullFailed, match="more than 2 pages"):
        list(fetching.pages(""))
    fetching.close()
