"""A plant of many lots, put into a database by its quickest way: what the console and its lists are measured on.

A handful of stories are told to the real service over HTTP, so that every row is as the pipeline writes it: lots that
wait, are held, rejected, released, shipped, scrapped, with records. Then each story is copied, entry by entry, with
another lot, item, supplier and day, its hashes made anew, so that the copies verify as well. Beside them every list is
filled with as many rows as asked: tasks, deliveries, records, reference data, scorecards, holds, recalls, parked
events, rule sets; and one lot has far too much of everything. What may not enter: measuring.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, timedelta
from typing import Any

import httpx
import msgspec
from sqlalchemy import text

from bench.genealogy import FAMILY, link_rows
from engine.clock import instant, system_clock
from engine.journal import GENESIS, Entry, entry_hash
from engine.lot import decode_lot
from engine.quality.scorecard import Scorecard
from engine.quality.series import Series, extended, point_of
from engine.store.opening import Store
from engine.tracks import pair_of

ITEM, SUPPLIER = "RING-74", "ACME"
#: How much of each story there is, of a hundred lots; the rest is shipped.
STORIES = {"waits": 8, "held": 4, "rejected": 3, "recorded": 3, "inspected": 4, "released": 8, "scrapped": 2,
           "shipped": 68}  # fmt: skip
#: Lots of the wide hold, of the recall, and of the lot that has far too much of everything.
WIDE, RECALL, GIANT = "W-BIG", "R-BIG", "L00000000"
SUPPLIERS, ITEMS = 400, 10_000
#: Days over which lots came in.
DAYS = 400
_encode = msgspec.json.Encoder().encode
Row = tuple[Any, ...]


def lot_name(number: int) -> str:
    """The name of a lot."""
    return f"L{number:08}"


def item_of(number: int) -> str:
    """The item of a lot: every fourth is of the one item of which very much is made."""
    return ITEM if number % 4 == 0 else f"ITEM-{number % ITEMS:05}"


def supplier_of(number: int) -> str:
    """The supplier of a lot."""
    return SUPPLIER if number % 4 == 0 else f"SUPPLIER-{number % SUPPLIERS:03}"


# -- the stories ---------------------------------------------------------------------------------------------------


class Teller:
    """Tells the service stories, one lot each."""

    def __init__(self, http: httpx.Client, store: Store) -> None:
        self._http = http
        self._store = store
        self._number = 0

    def tell(self) -> dict[str, str]:
        """Every story; gives the lot of each."""
        found = {name: f"TEMPLATE-{name.upper()}" for name in STORIES}
        for name, lot in found.items():
            item = {"inspected": "TEN-POINT"}.get(name, ITEM)
            goods = {"item": item, "revision": "A", "quantity": {"value": "100", "unit": "ea"}, "supplier": SUPPLIER,
                     "receipt": lot, "order": "PO-TEMPLATE", "plant": "P-1"}  # fmt: skip
            self._say("lot.received.v1", lot, goods)
        self._say("hold.applied.v1", found["held"], {"hold": "H-1", "reason": {"code": "SUSPECT", "text": "scratches"}})
        self._inspect(found["rejected"], "diameter", "75.000")
        for name in ("recorded", "released", "shipped"):
            self._inspect(found[name], "diameter", "74.000")
        ten = [{"characteristic": f"c{n:02}", "value": "10.000", "unit": "mm", "sample": 1} for n in range(1, 11)]
        self._say("inspection.recorded.v1", found["inspected"], {"inspection": "IL-1", "measurements": ten})
        record = {"record": "NC-1", "kind": "nonconformance", "severity": "major", "text": "bent at the edge"}
        self._do(found["recorded"], "open-record", record | {"due_on": "2026-01-31", "owner": "QE-1"})
        self._do(found["scrapped"], "hold", {"hold": "H-2", "reason": {"code": "SUSPECT"}})
        self._do(found["scrapped"], "dispose", {"decision": "scrap", "reason": {"code": "BENT"}, "reference": "CC-1"})
        self._agreed()
        self._say("lot.shipped.v1", found["shipped"], {"shipment": "S-1", "customer": "CUST"})
        self._agreed()
        return found

    def _agreed(self) -> None:
        """Every system agrees to all of it."""
        with self._store.engine.begin() as connection:
            connection.execute(text("UPDATE deliveries SET state = 'delivered', last_error = NULL"
                                    " WHERE lot LIKE 'TEMPLATE-%'"))  # fmt: skip

    def _inspect(self, lot: str, name: str, value: str) -> None:
        values = [{"characteristic": name, "value": value, "unit": "mm", "sample": n} for n in range(1, 6)]
        self._say("inspection.recorded.v1", lot, {"inspection": "IL-1", "measurements": values})

    def _say(self, kind: str, lot: str, data: dict[str, Any]) -> None:
        event = {"specversion": "1.0", "id": f"{kind}/{lot}", "source": "plant", "type": kind, "subject": lot,
                 "data": data}  # fmt: skip
        kinds = {"Content-Type": "application/cloudevents+json"}
        self._taken(self._http.post("/v1/events", content=_encode(event), headers=kinds))

    def _do(self, lot: str, command: str, body: dict[str, Any]) -> None:
        self._number += 1
        key = {"Idempotency-Key": f"plant-{self._number}"}
        self._taken(self._http.post(f"/v1/lots/{lot}/{command}", json=body, headers=key))

    def _taken(self, answer: httpx.Response) -> None:
        if answer.status_code not in (200, 201):
            raise SystemExit(f"plant: a story was not taken: {answer.status_code} {answer.text[:500]}")


# -- copying -------------------------------------------------------------------------------------------------------

_TABLES = ("journal", "lots", "holds", "results", "deliveries", "quality_records")


class Story:
    """The rows of one lot, to be copied."""

    def __init__(self, store: Store, lot: str) -> None:
        self.lot = lot
        self.columns: dict[str, tuple[str, ...]] = {}
        self.rows: dict[str, list[Row]] = {}
        with store.reads.connect() as connection:
            for table in _TABLES:
                key = "id" if table == "lots" else "lot"
                order = "version" if table == "journal" else key
                found = connection.execute(text(f'SELECT * FROM {table} WHERE {key} = :lot ORDER BY {order}'), {"lot": lot})
                names = tuple(found.keys())
                kept = [n for n in names if n not in ("position", "commit_order") and (n, table) != ("id", "deliveries")]
                self.columns[table] = tuple(kept)
                self.rows[table] = [tuple(row._mapping[name] for name in kept) for row in found]
        self.day = str(self.rows["journal"][0][self.columns["journal"].index("recorded_at")])[:10]

    def copied(self, number: int, day: str) -> dict[str, list[Row]]:
        """Its rows as those of lot ``number`` on ``day``, hashes made anew."""
        item = next(row[self.columns["lots"].index("item")] for row in self.rows["lots"])
        changes = [(self.lot, lot_name(number)), ("PO-TEMPLATE", f"PO-{number // 5:06}"), (self.day, day)]
        if item == ITEM:
            changes += [(ITEM, item_of(number)), (SUPPLIER, supplier_of(number))]

        def changed(value: Any) -> Any:
            if isinstance(value, str):
                for old, new in changes:
                    if old in value:
                        value = value.replace(old, new)
            return value

        found = {table: [tuple(map(changed, row)) for row in rows] for table, rows in self.rows.items()}
        head, chain = GENESIS, []
        for row in found["journal"]:
            entry = Entry(**dict(zip(self.columns["journal"], row, strict=True)) | {"prev_hash": head, "hash": ""})
            head = entry_hash(entry)
            chain.append((*row[: self.columns["journal"].index("prev_hash")], entry.prev_hash, head))
        old = self.rows["lots"][0][self.columns["lots"].index("head")]
        found["journal"] = chain
        found["lots"] = [tuple(v.replace(old, head) if isinstance(v, str) else v for v in row) for row in found["lots"]]
        return found


def put(store: Store, table: str, columns: Sequence[str], rows: Iterable[Row]) -> None:
    """Insert rows by the quickest way that the database has."""
    names = ", ".join(f'"{name}"' for name in columns)
    connection = store.raw()
    cursor = connection.cursor()
    cursor.execute("BEGIN")
    if store.dialect == "postgresql":
        with cursor.copy(f"COPY {table} ({names}) FROM STDIN") as copy:
            for row in rows:
                copy.write_row(row)
    else:
        cursor.executemany(f"INSERT INTO {table} ({names}) VALUES ({', '.join('?' * len(columns))})", rows)
    cursor.execute("COMMIT")
    connection.close()


def stories_of(store: Store, told: dict[str, str]) -> list[Story]:
    """A hundred stories, as many of each as STORIES says, mixed."""
    read = {name: Story(store, lot) for name, lot in told.items()}
    cycle = [read[name] for name, share in STORIES.items() for _ in range(share)]
    return [cycle[number * 37 % len(cycle)] for number in range(len(cycle))]


def copy_lots(store: Store, told: dict[str, str], number: int) -> None:
    """Make ``number`` lots of the stories."""
    cycle, today = stories_of(store, told), date.today()  # noqa: DTZ011  # any day
    for first in range(0, number, 5_000):
        rows: dict[str, list[Row]] = {table: [] for table in _TABLES}
        for n in range(first, min(first + 5_000, number)):
            day = (today - timedelta(days=1 + (number - n) * DAYS // number)).isoformat()
            for table, some in cycle[n % len(cycle)].copied(n, day).items():
                rows[table] += some
        for table, some in rows.items():
            put(store, table, cycle[0].columns[table], some)


# -- lists ---------------------------------------------------------------------------------------------------------


def fill(store: Store, told: dict[str, str], lots: int, many: int) -> None:
    """``lots`` lots, and ``many`` rows in every list that can have so many."""
    copy_lots(store, told, lots)
    links = ("lot", "version", "number", "kind", "parent", "child", "quantity", "unit")
    put(store, "links", links, (row for row in link_rows(lots) if row[0] not in (GIANT,)))
    now = system_clock()
    with store.engine.begin() as connection:
        for target in ("erp", "wms"):
            # Else the web process, when it runs without Redis, would try to deliver what waits.
            paused = {"name": target, "at": instant(now), "by": "plant", "reason": "nobody is there", "breaker": "closed"}
            connection.execute(text("INSERT INTO targets (name, paused_at, paused_by, reason, breaker)"
                                    " VALUES (:name, :at, :by, :reason, :breaker) ON CONFLICT (name) DO UPDATE"
                                    " SET paused_at = excluded.paused_at, paused_by = excluded.paused_by,"
                                    " reason = excluded.reason"), paused)  # fmt: skip
        # What is given up and what waits: the newest lots, so that whoever looks for them passes all others.
        for state, last in (("dead", lots), ("pending", lots - many // 2)):
            least = {"low": lot_name(max(0, last - many)), "high": lot_name(last), "state": state, "due": now.timestamp() + 600,
                     "error": "erp answered 422: unit unknown" if state == "dead" else None}  # fmt: skip
            connection.execute(text(
                "UPDATE deliveries SET state = :state, due_at = :due, last_error = :error, attempts = 3"
                " WHERE lot >= :low AND lot < :high AND target = 'erp'"), least)  # fmt: skip
    at = instant(now)
    for table, columns, rows in lists(lots, many, at):
        put(store, table, columns, rows)
    series_and_scorecards(store, many, at)
    giant(store, many)
    with store.engine.begin() as connection:
        last = connection.execute(text("SELECT max(position) FROM journal")).scalar_one()
        connection.execute(text("UPDATE track_position SET position = :last"), {"last": last})
    if store.dialect == "postgresql":
        connection = store.raw()
        connection.execute("ANALYZE")
        connection.close()


def lists(lots: int, many: int, at: str) -> Iterator[tuple[str, tuple[str, ...], Iterator[Row]]]:
    """Table, columns and rows of every list."""
    task = ("kind", "subject", "target", "detail", "opened_at", "acknowledged_at", "acknowledged_by", "closed_at",
            "closed_by", "closing_note")  # fmt: skip
    kinds = ("delivery-dead", "notification", "record-overdue", "family-stuck", "target-late")
    closed = 4 * many
    yield "escalations", task, (
        (kinds[n % len(kinds)], lot_name(n * 7 % lots), "erp", "erp does not take version 3: HTTP 422 unit unknown", at,
         at if n % 3 == 0 else None, "qe-1" if n % 3 == 0 else None, *((at, "qe-1", "mended") if n < closed else (None,) * 3))
        for n in range(closed + many)
    )  # fmt: skip
    record = ("lot", "record", "kind", "severity", "status", "content", "opened_at", "owner", "due_on", "closed_at")
    yield "quality_records", record, (_record(n, lots, at, closed=n < 3 * many) for n in range(4 * many))
    hold = ("lot", "hold", "reason", "text", "scope", "source", "owner", "applied_at", "applied_version", "lifted_at",
            "lifted_version", "lift_role")  # fmt: skip
    family = min(FAMILY, lots)
    for name, scope, number in ((f"wide:{WIDE}", "item", min(lots, many + many // 5)), (f"recall:{RECALL}", "recall", family)):
        yield "holds", hold, (
            (lot_name(n), name, "SUSPECT", "", scope, "lotgate/hold", None, at, 900, None, None, None) for n in range(number)
        )  # fmt: skip
    reason, nothing = _json({"code": "SUSPECT", "text": "furnace 3 was too cold"}), None
    recall = ("id", "selection", "reason", "state", "opened_at", "opened_by", "cursor", "selected", "held_at", "closed_at",
              "closed_by", "note")  # fmt: skip
    yield "recalls", recall, (
        (f"R-{n:05}" if n else RECALL, _json({"lots": [lot_name(n % lots)]}), reason, "closed" if n else "open", at, "qm",
         None, 1 if n else family, at, *((at, "qm", "mended") if n else (None, None, None))) for n in range(many)
    )  # fmt: skip
    wide = ("id", "kind", "scope", "selection", "reason", "owner", "lift_role", "state", "stands", "done", "opened_at",
            "opened_by", "ended_at")  # fmt: skip
    yield "wide_holds", wide, (
        (f"W-{n:05}" if n else WIDE, "hold", "item", _json({"item": item_of(n)}), reason, "qe-1", nothing,
         "lifted" if n else "placed", int(not n), 12 if n else many + many // 5, at, "qm", at) for n in range(many)
    )  # fmt: skip
    yield "wide_hold_steps", ("hold", "step", "at", "by", "detail"), (
        (f"W-{n:05}" if n else WIDE, step, at, "qm", f"item {item_of(n)}") for n in range(many) for step in ("opened", "placed")
    )
    yield "parked", ("key", "subject", "waits_for", "event", "principal", "parked_at", "expires_at"), (
        (f"parked-{n:06}", f"LATER-{n:06}", f"lot:LATER-{n:06}", "{}", "plant", at, 4e9) for n in range(many)
    )
    reference = ("kind", "key", "revision", "effective_from", "item", "supplier", "content", "digest", "recorded_at",
                 "recorded_by")  # fmt: skip
    for kind in ("inspection-plan", "fact", "customer", "order", "allocation", "routing", "shelf-life"):
        yield "reference", reference, (_reference(kind, n, at) for n in range(many))
    yield "reference", reference, (_reference("hold-reason", n, at) for n in range(200))
    yield "reference", reference, (
        (*_reference("customer", many + 1, at)[:2], n + 1, *_reference("customer", many + 1, at)[3:]) for n in range(1_000)
    )


def _record(n: int, lots: int, at: str, *, closed: bool) -> Row:
    kind = ("nonconformance", "deviation", "corrective_action")[n % 3]
    opened = f"{2020 + n % 6}-{1 + n % 12:02}-{1 + n % 28:02}T08:00:00.000000Z"
    content = {"record": f"NC-{n:06}", "kind": kind, "severity": "major", "status": "closed" if closed else "open",
               "text": "bent at the edge of the flange, four of thirty", "opened_at": opened, "owner": "QE-1",
               "due_on": "2026-01-31"}  # fmt: skip
    status = content["status"]
    return (lot_name(n * 3 % lots), content["record"], kind, "major", status, _json(content), opened, "QE-1", "2026-01-31",
            at if closed else None)  # fmt: skip


def _reference(kind: str, n: int, at: str) -> Row:
    item, supplier = f"ITEM-{n:05}", f"SUPPLIER-{n % SUPPLIERS:03}"
    quantity = {"value": "10", "unit": "ea"}
    content: dict[str, Any] = {
        "inspection-plan": {"item": item, "characteristics": [
            {"characteristic": f"c{c:02}", "unit": "mm", "lower": "9.5", "upper": "10.5"} for c in range(20)]},
        "fact": {"kind": "standard_cost", "item": item, "fields": {"value": "2.50", "unit": "ea", "currency": "EUR"}},
        "customer": {},
        "order": {"customer": f"CUSTOMER-{n % 500:03}", "status": "releasable",
                  "lines": [{"line": str(line), "item": item, "quantity": quantity} for line in range(5)]},
        "allocation": {"lines": [{"line": str(line), "lot": lot_name(n), "quantity": quantity} for line in range(5)]},
        "routing": {"item": item, "operations": [{"operation": f"OP-{o}"} for o in range(5)]},
        "shelf-life": {"item": item, "days": 365},
        "hold-reason": {"text": f"the reason of number {n}"},
    }[kind]  # fmt: skip
    about = kind in ("inspection-plan", "fact", "routing", "shelf-life")
    body = _json(content)
    digest = hashlib.sha256(body.encode()).hexdigest()
    key = f"REASON-{n:03}" if kind == "hold-reason" else f"{kind.upper()}-{n:05}"
    return (kind, key, 1, "2026-01-01", item if about else None, supplier if kind == "fact" and n % 2 else None, body, digest,
            at, "erp")  # fmt: skip


def series_and_scorecards(store: Store, many: int, at: str) -> None:
    """Scorecards of many pairs of item and supplier; of the one item as many series as it has characteristics."""
    whole = Series()
    for n in range(60):
        whole = extended(whole, point_of(lot_name(n), at, [74 + 0.001 * (n * 7 % 11), 74.002, 73.999 + 0.0001 * n]))
    card, content = _json(Scorecard()), _json(whole)
    pairs = [(ITEM, SUPPLIER)] + [(item_of(n), supplier_of(n)) for n in range(4 * many) if n % 4]
    pairs = list(dict.fromkeys(pairs))[:many]
    put(store, "scorecards", ("pair", "item", "supplier", "content", "changed_at"),
        ((pair_of(*pair), *pair, card, at) for pair in pairs))  # fmt: skip
    columns = ("pair", "characteristic", "item", "supplier", "content", "changed_at")
    put(store, "series", columns, ((pair_of(*pair), "diameter", *pair, content, at) for pair in pairs))
    more = ((pair_of(ITEM, SUPPLIER), f"c{n:03}", ITEM, SUPPLIER, content, at) for n in range(300))
    put(store, "series", columns, more)


def giant(store: Store, many: int) -> None:
    """Give one lot far too much: entries, results, deliveries, holds, records, relatives."""
    with store.reads.connect() as connection:
        wanted = {"lot": GIANT}
        kept = connection.execute(text("SELECT * FROM journal WHERE lot = :lot ORDER BY version"), wanted).mappings().all()
        row = connection.execute(text("SELECT * FROM lots WHERE id = :lot"), wanted).mappings().one()
        telling = connection.execute(text("SELECT * FROM deliveries WHERE lot = :lot"), wanted).mappings().first()
    names = Entry.__struct_fields__
    last = Entry(**{name: kept[-1][name] for name in names})
    entries, head = [], last.hash
    for version in range(last.version + 1, last.version + 1 + many):
        # A refusal changes nothing of the lot but its version.
        entry = msgspec.structs.replace(
            last, version=version, kind="refusal", event_id=f"again-{version}", state_before=last.state_after, prev_hash=head,
            hash="",
        )  # fmt: skip
        head = entry_hash(entry)
        entries.append(msgspec.structs.replace(entry, hash=head))
    put(store, "journal", names, (msgspec.structs.astuple(entry) for entry in entries))
    lot = msgspec.structs.replace(decode_lot(row["snapshot"]), version=entries[-1].version, head=head, results_after=0)
    with store.engine.begin() as connection:
        connection.execute(text("UPDATE lots SET version = :version, head = :head, snapshot = :snapshot WHERE id = :lot"),
                           {"version": lot.version, "head": head, "snapshot": _json(lot), "lot": GIANT})  # fmt: skip
    values = _json([{"characteristic": f"c{n % 40:02}", "value": f"74.0{n % 9}", "unit": "mm", "sample": n} for n in range(1, 201)])
    put(store, "results", ("lot", "version", "inspection", "measurements"),
        ((GIANT, last.version + 1 + n, f"IL-{n}", values) for n in range(min(500, many))))  # fmt: skip
    hold = ("lot", "hold", "reason", "text", "scope", "source", "applied_at", "applied_version", "lifted_at", "lifted_version")
    put(store, "holds", hold, ((GIANT, f"H-{n}", "SUSPECT", "", "lot", "qms", last.recorded_at, n + 1_000,
                                last.recorded_at, n + 1_001) for n in range(min(1_000, many))))  # fmt: skip
    if telling is not None:
        columns = [name for name in telling if name != "id"]
        put(store, "deliveries", columns, (tuple({**telling, "version": n + 1_000, "state": "delivered"}[c] for c in columns)
                                           for n in range(many)))  # fmt: skip


def _json(value: Any) -> str:
    return _encode(value).decode()
