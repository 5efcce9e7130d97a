"""A plant of many lots, put into a database by its quickest way: what the console and its lists are measured on.

A handful of stories are told to the real service over HTTP, so that every row is as the pipeline writes it: lots that
wait, are held, rejected, released, shipped, scrapped, with records. Then each story is copied, entry by entry, with
another lot, item, supplier and day, its hashes made anew, so that the copies verify as well. Beside them every list is
filled with as many rows as asked: tasks, deliveries, records, reference data, scorecards, holds, recalls, parked
events, rule sets; and one lot has far too much of everything. What may not enter: measuring.
"""

from datetime import date, timedelta
from typing import Any

import httpx
import msgspec
from sqlalchemy import text

from bench.genealogy import link_rows
from bench.plant_lists import (
    GIANT,
    ITEM,
    SUPPLIER,
    Row,
    giant,
    item_of,
    lists,
    lot_name,
    put,
    series_and_scorecards,
    supplier_of,
)
from engine.clock import instant, system_clock
from engine.journal import GENESIS, Entry, entry_hash
from engine.store.opening import Store

#: How much of each story there is, of a hundred lots; the rest is shipped.
STORIES = {"waits": 8, "held": 4, "rejected": 3, "recorded": 3, "inspected": 4, "released": 8, "scrapped": 2,
           "shipped": 68}  # fmt: skip
#: Days over which lots came in.
DAYS = 400
_encode = msgspec.json.Encoder().encode


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
                found = connection.execute(
                    text(f"SELECT * FROM {table} WHERE {key} = :lot ORDER BY {order}"), {"lot": lot}
                )
                names = tuple(found.keys())
                kept = [
                    n for n in names if n not in ("position", "commit_order") and (n, table) != ("id", "deliveries")
                ]
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


def story_names() -> list[str]:
    """The stories of a hundred lots, as many of each as STORIES says, mixed: lot ``n`` has the story ``n % 100``."""
    cycle = [name for name, share in STORIES.items() for _ in range(share)]
    return [cycle[number * 37 % len(cycle)] for number in range(len(cycle))]


def stories_of(store: Store, told: dict[str, str]) -> list[Story]:
    """The stories by ``story_names``, read."""
    read = {name: Story(store, lot) for name, lot in told.items()}
    return [read[name] for name in story_names()]


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


def fill(store: Store, told: dict[str, str], lots: int, many: int) -> None:
    """``lots`` lots, and ``many`` rows in every list that can have so many."""
    copy_lots(store, told, lots)
    links = ("lot", "version", "number", "kind", "parent", "child", "quantity", "unit")
    put(store, "links", links, (row for row in link_rows(lots) if row[0] not in (GIANT,)))
    now = system_clock()
    with store.engine.begin() as connection:
        for target in ("erp", "wms"):
            # Else the web process, when it runs without Redis, would try to deliver what waits.
            paused = {
                "name": target,
                "at": instant(now),
                "by": "plant",
                "reason": "nobody is there",
                "breaker": "closed",
            }
            connection.execute(
                text(
                    "INSERT INTO targets (name, paused_at, paused_by, reason, breaker)"
                    " VALUES (:name, :at, :by, :reason, :breaker) ON CONFLICT (name) DO UPDATE"
                    " SET paused_at = excluded.paused_at, paused_by = excluded.paused_by,"
                    " reason = excluded.reason"
                ),
                paused,
            )
        # What is given up and what waits: the newest lots, so that whoever looks for them passes all others.
        for state, last in (("dead", lots), ("pending", lots - many // 2)):
            least = {
                "low": lot_name(max(0, last - many)),
                "high": lot_name(last),
                "state": state,
                "due": now.timestamp() + 600,
                "error": "erp answered 422: unit unknown" if state == "dead" else None,
            }
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
