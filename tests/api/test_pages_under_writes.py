"""Every list that comes in pages, walked while others write: nothing twice, nothing lost that was there at the first page.

Hypothesis chooses what is there, how large the pages are, and what is written between which of them. Each list is
walked on both databases; ids hold what sorts differently in different collations.
"""

import abc
import base64
import itertools
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from api.operations import OPERATIONS
from engine.clock import system_clock
from engine.drift import Drift, DriftLine
from engine.pipeline import Pipeline
from engine.recalls import carry_out
from engine.settings import SHIPPED_RULES
from engine.store.opening import Store, open_store
from engine.tasks import Tasks
from engine.track_record import count
from rules.judge import TwoChannelJudge
from rules.rulebook import RuleBook
from tests.api.conftest import Service

WHEN = "2026-11-23T08:00:00.000000Z"
#: Sorted one way by bytes and another way by people.
LETTERS = ("a", "B", "é", "Z", "-", "_", "€", "😀", "%", " ", "/", "0")
_examples = itertools.count(1)

Row = dict[str, Any]


class House:
    """A service with its database, for those who write past the HTTP contract."""

    def __init__(self, service: Service, url: str) -> None:
        self.service, self.http = service, service.http
        self.store: Store = open_store(url, service.home)

    def events(self, *events: Row) -> None:
        answer = self.http.post(
            "/v1/events/batch",
            content="\n".join(map(json.dumps, events)),
            headers={"Content-Type": "application/x-ndjson"},
        )
        assert answer.status_code == 200, answer.text
        refused = [line for line in answer.text.splitlines() if json.loads(line)["status"] not in (200, 201, 202)]
        assert not refused, refused

    def recall(self) -> None:
        """Place the holds of recalls, as the clock process does: these services have none."""
        book = RuleBook.load(SHIPPED_RULES)
        judge = TwoChannelJudge(book, channel="reference")
        pipeline = Pipeline(self.store, judge, book, system_clock)
        while carry_out(self.store, pipeline, system_clock):
            pass
        pipeline.stop()
        judge.close()

    def put(self, path: str, content: Any) -> None:
        answer = self.http.put(f"/v1/reference/{path}", json={"effective_from": "2026-01-01", "content": content})
        assert answer.status_code in (200, 201), answer.text


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def house(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    url = "" if request.param == "sqlite" else request.getfixturevalue("new_postgres")()
    running = Service(tmp_path_factory.mktemp("pages"), **({"database_url": url} if url else {}))
    running.start()
    built = House(running, url)
    yield built
    built.store.close()
    running.stop()


class Listing(abc.ABC):
    """A list under test: where it is, what is asked of it, how one row more comes into it."""

    path = ""
    #: Rows one example may make; some lots end before they have many.
    most = 12
    #: Rows leave it, or do not come into it at all.
    may_be_empty = False

    def __init__(self, house: House, example: int) -> None:
        self.house = house
        self.tag = f"PG{example}"
        self.query: dict[str, str] = {}
        #: Rows that came into the list and left it again: a walk may have met them.
        self.gone: set[Any] = set()
        self.begin()

    def begin(self) -> None:  # noqa: B027 - most lists need nothing
        """What must be there before the first row."""

    @abc.abstractmethod
    def write(self, number: int) -> None:
        """One row more, or what changes one."""

    @abc.abstractmethod
    def key(self, row: Row) -> Any:
        """What a row is known by."""

    def fits(self, row: Row) -> bool:
        """Does ``row`` satisfy the filters that were asked for?"""
        return True

    def page(self, limit: int, cursor: str | None) -> tuple[list[Row], str | None]:
        asked = {**self.query, "limit": str(limit), **({} if cursor is None else {"cursor": cursor})}
        answer = self.house.http.get(self.path, params=asked)
        assert answer.status_code == 200, answer.text
        return answer.json()["data"], answer.json()["next"]

    def name(self, number: int) -> str:
        return f"{self.tag}-{LETTERS[number % len(LETTERS)]}{number}"

    def event(self, type_: str, lot: str, identity: str, **data: Any) -> Row:
        return {"specversion": "1.0", "id": f"{self.tag}-{identity}", "source": "pages", "type": type_, "subject": lot, "data": data}  # fmt: skip

    def receipt(self, lot: str, **data: Any) -> Row:
        said = {"item": "RING-74", "revision": "A", "quantity": {"value": "100", "unit": "ea"}, "supplier": "ACME",
                "receipt": f"GR/{lot}"} | data  # fmt: skip
        return self.event("lot.received.v1", lot, f"r{lot}", **said)

    def hold(self, lot: str, number: int) -> Row:
        return self.event("hold.applied.v1", lot, f"h{lot}{number}", hold=f"H-{number}", reason={"code": "SUSPECT"})


class Lots(Listing):
    path = "/v1/lots"

    def begin(self) -> None:
        self.query = {"plant": self.tag}
        self.house.events(self.receipt(f"{self.tag}-elsewhere", plant="ELSEWHERE"))

    def write(self, number: int) -> None:
        self.house.events(self.receipt(self.name(number), plant=self.tag))

    def key(self, row: Row) -> Any:
        return row["id"]

    def fits(self, row: Row) -> bool:
        return bool(row["plant"] == self.tag)


class LotsInAState(Lots):
    """Every third row blocks the one before it: lots leave the list while it is read."""

    may_be_empty = True

    def begin(self) -> None:
        super().begin()
        self.query["state"] = "quarantined"
        self.made: list[str] = []

    def write(self, number: int) -> None:
        if number % 3 == 0 and self.made:
            blocked = self.made.pop()
            self.house.events(self.hold(blocked, number))
            self.gone.add(blocked)
            return
        super().write(number)
        self.made.append(self.name(number))

    def fits(self, row: Row) -> bool:
        return bool(row["state"] == "quarantined" and row["plant"] == self.tag)


class OfOneLot(Listing):
    records = ""

    def begin(self) -> None:
        self.lot = f"{self.tag}/é 1"
        self.path = f"/v1/lots/{quote(self.lot, safe='')}/{self.records}"
        self.house.events(self.receipt(self.lot))

    def write(self, number: int) -> None:
        self.house.events(self.hold(self.lot, number))

    def key(self, row: Row) -> Any:
        return row["version"]

    def fits(self, row: Row) -> bool:
        return bool(row["lot"] == self.lot)


class Journal(OfOneLot):
    records = "journal"


class Results(OfOneLot):
    records = "results"
    most = 4  # with the fifth sample the lot is inspected

    def write(self, number: int) -> None:
        self.sample = getattr(self, "sample", 0) + 1
        measured = {"characteristic": "diameter", "value": "74.000", "unit": "mm", "sample": self.sample}
        self.house.events(
            self.event("inspection.recorded.v1", self.lot, f"i{number}", inspection="IL-1", measurements=[measured])
        )

    def fits(self, row: Row) -> bool:
        return bool(row["inspection"] == "IL-1")


class LotDeliveries(OfOneLot):
    records = "deliveries"

    def key(self, row: Row) -> Any:
        return row["id"]


class Deliveries(OfOneLot):
    def begin(self) -> None:
        super().begin()
        self.path, self.query = "/v1/deliveries", {"lot": self.lot, "target": "wms"}

    def key(self, row: Row) -> Any:
        return row["id"]

    def fits(self, row: Row) -> bool:
        return bool(row["lot"] == self.lot and row["target"] == "wms")


class Parked(Listing):
    path = "/v1/parked"

    def write(self, number: int) -> None:
        self.house.events(self.hold(self.name(number), number))

    def key(self, row: Row) -> Any:
        return row["key"]


class TaskList(Listing):
    path = "/v1/tasks"

    def begin(self) -> None:
        self.query = {"kind": f"kind-{self.tag}"}

    def write(self, number: int) -> None:
        tasks = Tasks(self.house.store, system_clock)
        assert tasks.open_once(self.query["kind"], self.name(number), "erp answered 422", "erp")
        assert tasks.open_once("another-kind", self.name(number), "erp answered 422", "erp")

    def key(self, row: Row) -> Any:
        return row["id"]

    def fits(self, row: Row) -> bool:
        return bool(row["kind"] == self.query["kind"])


class DriftList(Listing):
    path = "/v1/targets/wms/drift"
    may_be_empty = True

    def begin(self) -> None:
        self.query = {"kind": "differs"}
        self.drift = Drift(self.house.store, system_clock)
        self.drift.over("wms", [line.lot for line in self.drift.lines("wms", limit=500)])

    def write(self, number: int) -> None:
        kind = "unknown-lot" if number % 4 == 0 else "differs"
        self.drift.found(DriftLine("wms", self.name(number), kind, 1, {}, {}, WHEN, WHEN, 0))
        if number % 5 == 0:
            self.drift.over("wms", [self.name(number)])

    def key(self, row: Row) -> Any:
        return row["lot"]

    def fits(self, row: Row) -> bool:
        return bool(row["kind"] == "differs")


class Answers(Listing):
    def begin(self) -> None:
        self.path = f"/v1/shipments/{self.tag}/answers"
        self.write(0)

    def write(self, number: int) -> None:
        amount = {"value": str(number + 1), "unit": "ea"}
        line = {"line": "1", "item": "RING-74", "quantity": amount}
        self.house.put(f"order/{self.tag}", {"customer": "CO", "status": "releasable", "lines": [line]})
        assert self.house.http.get(f"/v1/shipments/{self.tag}/readiness").status_code == 200

    def key(self, row: Row) -> Any:
        return row["number"]

    def fits(self, row: Row) -> bool:
        return bool(row["order"] == self.tag)


class QualityRecords(Listing):
    path = "/v1/quality/records"

    def begin(self) -> None:
        self.lot = "\U0001f600" * 50 + self.tag
        self.query = {"lot": self.lot, "kind": "nonconformance"}
        self.house.events(self.receipt(self.lot, receipt=self.tag))

    def write(self, number: int) -> None:
        record = "\U0001f680" * 40 + self.name(number)
        data = {"record": record, "kind": "nonconformance", "severity": "minor", "text": "cracks"}
        self.house.events(self.event("quality_record.opened.v1", self.lot, f"q{number}", **data))

    def key(self, row: Row) -> Any:
        return row["record"]["record"]

    def fits(self, row: Row) -> bool:
        return bool(row["lot"] == self.lot)


class References(Listing):
    path = "/v1/reference/fact"

    def begin(self) -> None:
        self.query = {"item": self.tag}

    def write(self, number: int) -> None:
        key = quote(self.name(number), safe="")
        self.house.put(f"fact/{key}", {"kind": "lot", "item": self.tag, "fields": {}})

    def key(self, row: Row) -> Any:
        return row["key"]

    def fits(self, row: Row) -> bool:
        return bool(row["content"]["item"] == self.tag)


class Epcis(Listing):
    path = "/v1/epcis/events"

    def begin(self) -> None:
        self.query = {"eventType": "ObjectEvent", "GE_recordTime": self.now()}

    def now(self) -> str:
        return system_clock().isoformat().replace("+00:00", "Z")

    def write(self, number: int) -> None:
        self.house.events(self.receipt(self.name(number)))

    def page(self, limit: int, cursor: str | None) -> tuple[list[Row], str | None]:
        asked = {**self.query, "limit": str(limit), **({} if cursor is None else {"nextPageToken": cursor})}
        answer = self.house.http.get(self.path, params=asked)
        assert answer.status_code == 200, answer.text
        rows = answer.json()["epcisBody"]["queryResults"]["resultsBody"]["eventList"]
        if "link" not in answer.headers:
            return rows, None
        return rows, parse_qs(urlsplit(answer.headers["link"].split(">")[0][1:]).query)["nextPageToken"][0]

    def key(self, row: Row) -> Any:
        return row["eventID"]

    def fits(self, row: Row) -> bool:
        return bool(row["type"] == "ObjectEvent" and row["recordTime"] >= self.query["GE_recordTime"])


class Checkpoints(Listing):
    """Newest first, so that what is written meanwhile comes before the page that one reads."""

    path = "/v1/checkpoints"
    most = 4

    def write(self, number: int) -> None:
        self.house.events(self.receipt(self.name(number)))
        answer = self.house.http.post("/v1/checkpoints")
        assert answer.status_code == 201, answer.text

    def key(self, row: Row) -> Any:
        return row["number"]


class CheckpointLines(Checkpoints):
    """Those of one checkpoint never change."""

    def begin(self) -> None:
        self.house.events(*(self.receipt(f"{self.tag}-{number}") for number in range(3)))
        made = self.house.http.post("/v1/checkpoints").json()
        self.path = f"/v1/checkpoints/{made['number']}/lines"

    def key(self, row: Row) -> Any:
        return row["position"]


class WideHoldList(Listing):
    """Newest first."""

    path = "/v1/holds"
    most = 6

    def write(self, number: int) -> None:
        said = {"scope": "filter", "selection": {"item": self.tag}, "reason": {"code": "SUSPECT"}}
        answer = self.house.http.post(self.path, json=said | {"id": f"{self.tag}.{'-_.Zaz0'[number]}{number}"})
        assert answer.status_code == 201, answer.text

    def key(self, row: Row) -> Any:
        return row["id"]


class RecallList(WideHoldList):
    path = "/v1/recalls"

    def write(self, number: int) -> None:
        said = {"selection": {"item": self.tag}, "reason": {"code": "CRACKS"}, "id": f"{self.tag}.{number}"}
        answer = self.house.http.post(self.path, json=said)
        assert answer.status_code == 201, answer.text


class HeldLots(Listing):
    """Lots of a hold; some of them are held twice, which makes no page longer."""

    def begin(self) -> None:
        self.hold_name = f"H-{self.tag}"
        said = {"lifts": self.hold_name, "selection": {"plant": self.tag}, "reason": {"code": "CLEARED"}, "id": self.tag}
        assert self.house.http.post("/v1/holds/lift", json=said).status_code == 201
        self.path = f"/v1/holds/{self.tag}/lots"

    def write(self, number: int) -> None:
        lot, reason = self.name(number), {"code": "SUSPECT"}
        self.house.events(self.receipt(lot, plant=self.tag))
        for turn in range(1 + number % 2):
            placed = self.event("hold.applied.v1", lot, f"h{number}.{turn}", hold=self.hold_name, reason=reason)
            lifted = self.event("hold.lifted.v1", lot, f"l{number}.{turn}", hold=self.hold_name, reason=reason)
            self.house.events(placed, lifted)

    def page(self, limit: int, cursor: str | None) -> tuple[list[Row], str | None]:
        rows, onward = super().page(limit, cursor)
        there = {row["id"]: row for row in rows}
        for lot in there:
            number = int(lot.removeprefix(self.tag)[2:])
            assert [row["id"] for row in rows].count(lot) == 1 + number % 2
        return list(there.values()), onward

    def key(self, row: Row) -> Any:
        return row["id"]

    def fits(self, row: Row) -> bool:
        return bool(row["plant"] == self.tag)


class RecalledLots(Listing):
    """What is split off a lot that is recalled is recalled, too."""

    def begin(self) -> None:
        parent = f"{self.tag}-\U0001f600"
        self.parent = parent
        self.house.events(self.receipt(parent))
        said = {"selection": {"lots": [parent]}, "reason": {"code": "CRACKS"}, "id": f"RL-{self.tag}"}
        assert self.house.http.post("/v1/recalls", json=said).status_code == 201
        self.house.recall()
        self.path = f"/v1/recalls/RL-{self.tag}/lots"

    def write(self, number: int) -> None:
        part = {"lot": self.name(number), "quantity": {"value": "1", "unit": "ea"}}
        self.house.events(self.event("lot.split.v1", self.parent, f"s{number}", children=[part]))

    def key(self, row: Row) -> Any:
        return row["id"]

    def fits(self, row: Row) -> bool:
        return bool(row["id"].startswith(self.tag))


class Scorecards(Listing):
    """One a supplier: by what was counted of lots that were inspected."""

    path = "/v1/quality/scorecards"
    most = 4

    def begin(self) -> None:
        self.query = {"item": "TEN-POINT"}

    def write(self, number: int) -> None:
        lot, supplier = f"{self.tag}-{number}", self.name(number)
        lines = [{"characteristic": f"c{n:02}", "value": "10.000", "unit": "mm", "sample": 1} for n in range(1, 11)]
        result = self.event("inspection.recorded.v1", lot, f"i{number}", inspection="IL-1", measurements=lines)
        # Nobody approved suppliers of such names.
        said = {"hold": "rule:SUPPLIER-APPROVED", "reason": {"code": "TRIAL"}}
        lifted = self.event("hold.lifted.v1", lot, f"l{number}", **said)
        self.house.events(self.receipt(lot, item="TEN-POINT", supplier=supplier), lifted, result)
        while count(self.house.store):
            pass

    def key(self, row: Row) -> Any:
        return row["supplier"]

    def fits(self, row: Row) -> bool:
        return bool(row["item"] == "TEN-POINT")


class Charts(Scorecards):
    path = "/v1/quality/charts"
    most = 2  # ten charts each

    def key(self, row: Row) -> Any:
        return row["supplier"], row["characteristic"]


class Concessions(Listing):
    path = "/v1/concessions"
    most = 5

    def used(self, lot: str, number: str) -> None:
        lines = [{"characteristic": "volume", "value": "761", "unit": "ml", "sample": n} for n in range(1, 6)]
        by = {"number": number, "valid_until": "2099-12-31"}
        self.house.events(
            self.receipt(lot, item="BOTTLE-VOL"),
            self.event("inspection.recorded.v1", lot, f"i{lot}", inspection="IL-1", measurements=lines),
            self.event("lot.dispositioned.v1", lot, f"d{lot}", decision="use_as_is", reason={"code": "X"}, concession=by),
        )

    def write(self, number: int) -> None:
        self.used(f"{self.tag}-{number}", self.name(number))

    def key(self, row: Row) -> Any:
        return row["number"]


class LotsOfAConcession(Concessions):
    def begin(self) -> None:
        self.concession = f"{self.tag}/é 1"
        self.path = f"/v1/concessions/{quote(self.concession, safe='')}"
        self.used(f"{self.tag}-first", self.concession)

    def write(self, number: int) -> None:
        self.used(self.name(number), self.concession)

    def page(self, limit: int, cursor: str | None) -> tuple[list[Row], str | None]:
        asked = {"limit": str(limit), **({} if cursor is None else {"cursor": cursor})}
        answer = self.house.http.get(self.path, params=asked)
        assert answer.status_code == 200, answer.text
        return answer.json()["lots"], answer.json()["next"]

    def key(self, row: Row) -> Any:
        return row["lot"]


class OperationResults(Listing):
    most = 5

    def begin(self) -> None:
        plan = {"item": self.tag, "kind": "in_process", "operation": "0010", "pieces": {"first": 1, "every": 1},
                "characteristics": [{"characteristic": "wall", "unit": "mm", "lower": "2"}]}  # fmt: skip
        self.house.put(f"inspection-plan/IP-{self.tag}", plan)
        self.lot = f"{self.tag}/é 1"
        goods = {"item": self.tag, "revision": "A", "quantity": {"value": "60", "unit": "ea"}, "order": f"MO-{self.tag}"}
        reported = self.event("operation.reported.v1", self.lot, "o", operation="0010", status="completed")
        self.house.events(self.event("production.started.v1", self.lot, "p", **goods), reported)
        self.path = f"/v1/lots/{quote(self.lot, safe='')}/operations/0010/results"

    def write(self, number: int) -> None:
        self.piece = getattr(self, "piece", 0) + 1
        one = {"characteristic": "wall", "value": "2.4", "unit": "mm", "sample": self.piece}
        said = {"inspection": "FP", "operation": "0010", "measurements": [one]}
        self.house.events(self.event("inspection.recorded.v1", self.lot, f"i{number}", **said))

    def key(self, row: Row) -> Any:
        return row["version"]

    def fits(self, row: Row) -> bool:
        return bool(row["inspection"] == "FP")


LISTINGS = {
    "lots": Lots, "lots in a state": LotsInAState, "journal": Journal, "results": Results, "deliveries of a lot": LotDeliveries,
    "deliveries": Deliveries, "parked": Parked, "tasks": TaskList, "drift": DriftList, "answers": Answers,
    "quality records": QualityRecords, "reference": References, "epcis": Epcis,
    "checkpoints": Checkpoints, "lines of a checkpoint": CheckpointLines, "holds": WideHoldList, "lots of a hold": HeldLots,
    "recalls": RecallList, "lots of a recall": RecalledLots, "scorecards": Scorecards, "charts": Charts,
    "concessions": Concessions, "lots of a concession": LotsOfAConcession, "results of an operation": OperationResults,
}  # fmt: skip


def whole(listing: Listing) -> list[Any]:
    rows: list[Any] = []
    cursor = None
    while True:
        found, cursor = listing.page(500, cursor)
        rows += map(listing.key, found)
        if cursor is None:
            return rows


@pytest.mark.parametrize("name", LISTINGS)
@settings(
    max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(data=st.data())
def test_a_walk_gives_once_whatever_was_there_when_it_began(house: House, name: str, data: st.DataObject) -> None:
    listing = LISTINGS[name](house, next(_examples))
    numbers = data.draw(st.permutations(range(1, listing.most + 1)), label="order of writing")
    there = data.draw(st.integers(1, listing.most), label="there before")
    limit = data.draw(st.integers(1, 4), label="limit")
    for number in numbers[:there]:
        listing.write(number)
    left = list(numbers[there:])
    before = whole(listing)
    assert before or listing.may_be_empty, "a list that is empty shows nothing"
    seen: list[Any] = []
    cursor: str | None = None
    while True:
        rows, cursor = listing.page(limit, cursor)
        assert len(rows) <= limit
        assert all(map(listing.fits, rows))
        seen += map(listing.key, rows)
        if cursor is None:
            break
        for _ in range(data.draw(st.integers(0, 3), label="written between two pages")):
            if left:
                listing.write(left.pop())
    after = whole(listing)
    assert len(seen) == len(set(seen))
    assert set(seen) <= set(before) | set(after) | listing.gone
    assert set(before) & set(after) <= set(seen)
    # What both walks saw they saw in one order.
    assert [key for key in after if key in set(seen)] == [key for key in seen if key in set(after)]


def test_every_call_that_takes_a_cursor_is_walked_here() -> None:
    paths = {
        "/v1/lots", "/v1/lots/{lot}/journal", "/v1/lots/{lot}/results", "/v1/lots/{lot}/deliveries", "/v1/deliveries",
        "/v1/parked", "/v1/tasks", "/v1/targets/{target}/drift", "/v1/shipments/{order}/answers", "/v1/quality/records",
        "/v1/reference/{kind}", "/v1/epcis/events", "/v1/checkpoints", "/v1/checkpoints/{number}/lines", "/v1/holds",
        "/v1/holds/{hold}/lots", "/v1/recalls", "/v1/recalls/{recall}/lots", "/v1/quality/scorecards", "/v1/quality/charts",
        "/v1/concessions", "/v1/concessions/{number}", "/v1/lots/{lot}/operations/{operation}/results",
    }  # fmt: skip
    marks = {"cursor", "nextPageToken"}
    assert {one.path for one in OPERATIONS if marks & {p.name for p in one.parameters}} == paths


def cursor_of(text: bytes) -> str:
    return base64.urlsafe_b64encode(text).decode().rstrip("=")


#: What breaks databases and numbers.
HOSTILE = (
    cursor_of(b'1:["\\u0000","",""]'), cursor_of(b'1:["\\ud800","",""]'), cursor_of(b"1:" + b"9" * 18),
    cursor_of(b"1:" + b"9" * 19), cursor_of(b"1:-1"), cursor_of("1:٣".encode()), cursor_of(b"1:\xed\xa0\x80"), "MTo",
    "99999999999999999999.1", "1.9999999999999999999", "999999999999999999.999999999999999999", "x" * 5000,
)  # fmt: skip
#: Cursors that nobody was given: from noise, and from what looks like one.
ODD = st.one_of(
    st.text(min_size=1, max_size=40),
    st.binary(max_size=60).map(cursor_of),
    st.binary(max_size=60).map(lambda tail: cursor_of(b"1:" + tail)),
    st.text(max_size=30).map(lambda tail: cursor_of(b"1:" + json.dumps([tail, tail, tail]).encode())),
)  # fmt: skip


@pytest.mark.parametrize("name", LISTINGS)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cursor=ODD)
def test_a_cursor_that_nobody_was_given_is_refused_or_a_place(house: House, name: str, cursor: str) -> None:
    ask_oddly(house, name, cursor)


@pytest.mark.parametrize("name", LISTINGS)
def test_a_cursor_that_would_hurt_a_database_is_refused_or_a_place(house: House, name: str) -> None:
    for cursor in HOSTILE:
        ask_oddly(house, name, cursor)


def ask_oddly(house: House, name: str, cursor: str) -> None:
    listing = _of_the_odd(house, name)
    mark = "nextPageToken" if isinstance(listing, Epcis) else "cursor"
    answer = house.http.get(listing.path, params={**listing.query, mark: cursor, "limit": "2"})
    assert answer.status_code in (200, 400, 404), answer.text
    if answer.status_code == 400:
        problem = answer.json()
        assert problem["type"] == "/problems/parameter-invalid"
        assert mark in problem["detail"]


_odd: dict[tuple[str, str], Listing] = {}


def _of_the_odd(house: House, name: str) -> Listing:
    key = (house.service.url, name)
    if key not in _odd:
        _odd[key] = LISTINGS[name](house, next(_examples))
    return _odd[key]


def test_pages_of_another_list_are_no_place_in_a_list_of_numbers(house: House) -> None:
    for path in ("/v1/deliveries", "/v1/tasks"):
        answer = house.http.get(path, params={"cursor": cursor_of(b"1:LOT-1")})
        assert answer.status_code == 400
        assert answer.json()["detail"] == "The cursor is not one that an earlier page gave."


def test_a_value_that_no_database_takes_is_refused_and_no_reason_to_come_again(house: House) -> None:
    asked = ("/v1/lots/%00", "/v1/lots/a%00b/journal", "/v1/shipments/%00/readiness", "/v1/reference/fact/%00")
    for path in asked:
        assert house.http.get(path).status_code in (200, 400, 404), path
    tasks = Tasks(house.store, system_clock)
    assert tasks.open_once("odd", "ODD-1", "erp answered 422", "erp")
    [task] = house.http.get("/v1/tasks", params={"kind": "odd"}).json()["data"]
    answer = house.http.post(f"/v1/tasks/{task['id']}/acknowledge", json={"note": "a\0b"})
    assert answer.status_code in (200, 400), answer.text
    for number in (2**31, 2**63, 10**17):
        assert house.http.get("/v1/lots/x/explain", params={"as_decided": str(number)}).status_code in (400, 404)
        assert house.http.get(f"/v1/tasks/{number}").status_code in (400, 404)
        assert house.http.get(f"/v1/deliveries/{number}").status_code in (400, 404)
