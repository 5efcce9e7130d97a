"""Rows of every list of a plant, as many as are asked for, and one lot with far too much of everything.

Used by bench/plant.py, which says what for. What may not enter: measuring, and what lots go through.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec
from sqlalchemy import text

from bench.genealogy import FAMILY
from engine.journal import Entry, entry_hash
from engine.lot import decode_lot
from engine.quality.scorecard import Scorecard
from engine.quality.series import Series, extended, point_of
from engine.store.opening import Store
from engine.tracks import pair_of

ITEM, SUPPLIER = "RING-74", "ACME"
#: Lots of the wide hold, of the recall, and of the lot that has far too much of everything.
WIDE, RECALL, GIANT = "W-BIG", "R-BIG", "L00000000"
SUPPLIERS, ITEMS = 400, 10_000
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


def lists(lots: int, many: int, at: str) -> Iterator[tuple[str, tuple[str, ...], Iterator[Row]]]:
    """Table, columns and rows of every list."""
    task = ("kind", "subject", "target", "detail", "opened_at", "acknowledged_at", "acknowledged_by", "closed_at",
            "closed_by", "closing_note")  # fmt: skip
    kinds = ("delivery-dead", "notification", "record-overdue", "family-stuck", "target-late")
    closed = 4 * many
    yield (
        "escalations",
        task,
        (
            (
                kinds[n % len(kinds)],
                lot_name(n * 7 % lots),
                "erp",
                "erp does not take version 3: HTTP 422 unit unknown",
                at,
                at if n % 3 == 0 else None,
                "qe-1" if n % 3 == 0 else None,
                *((at, "qe-1", "mended") if n < closed else (None,) * 3),
            )
            for n in range(closed + many)
        ),
    )
    record = ("lot", "record", "kind", "severity", "status", "content", "opened_at", "owner", "due_on", "closed_at")
    yield "quality_records", record, (_record(n, lots, at, closed=n < 3 * many) for n in range(4 * many))
    hold = ("lot", "hold", "reason", "text", "scope", "source", "owner", "applied_at", "applied_version", "lifted_at",
            "lifted_version", "lift_role")  # fmt: skip
    family = min(FAMILY, lots)
    for name, scope, number in (
        (f"wide:{WIDE}", "item", min(lots, many + many // 5)),
        (f"recall:{RECALL}", "recall", family),
    ):
        yield (
            "holds",
            hold,
            (
                (lot_name(n), name, "SUSPECT", "", scope, "lotgate/hold", None, at, 900, None, None, None)
                for n in range(number)
            ),
        )
    reason, nothing = _json({"code": "SUSPECT", "text": "furnace 3 was too cold"}), None
    recall = (
        "id",
        "selection",
        "reason",
        "state",
        "opened_at",
        "opened_by",
        "cursor",
        "selected",
        "held_at",
        "closed_at",
        "closed_by",
        "note",
    )
    yield (
        "recalls",
        recall,
        (
            (
                f"R-{n:05}" if n else RECALL,
                _json({"lots": [lot_name(n % lots)]}),
                reason,
                "closed" if n else "open",
                at,
                "qm",
                None,
                1 if n else family,
                at,
                *((at, "qm", "mended") if n else (None, None, None)),
            )
            for n in range(many)
        ),
    )
    wide = ("id", "kind", "scope", "selection", "reason", "owner", "lift_role", "state", "stands", "done", "opened_at",
            "opened_by", "ended_at")  # fmt: skip
    yield "wide_holds", wide, (
        (f"W-{n:05}" if n else WIDE, "hold", "item", _json({"item": item_of(n)}), reason, "qe-1", nothing,
         "lifted" if n else "placed", int(not n), 12 if n else many + many // 5, at, "qm", at) for n in range(many)
    )  # fmt: skip
    yield (
        "wide_hold_steps",
        ("hold", "step", "at", "by", "detail"),
        (
            (f"W-{n:05}" if n else WIDE, step, at, "qm", f"item {item_of(n)}")
            for n in range(many)
            for step in ("opened", "placed")
        ),
    )
    yield (
        "parked",
        ("key", "subject", "waits_for", "event", "principal", "parked_at", "expires_at"),
        ((f"parked-{n:06}", f"LATER-{n:06}", f"lot:LATER-{n:06}", "{}", "plant", at, 4e9) for n in range(many)),
    )
    reference = (
        "kind",
        "key",
        "revision",
        "effective_from",
        "item",
        "supplier",
        "content",
        "digest",
        "recorded_at",
        "recorded_by",
    )
    for kind in ("inspection-plan", "fact", "customer", "order", "allocation", "routing", "shelf-life"):
        yield "reference", reference, (_reference(kind, n, at) for n in range(many))
    yield "reference", reference, (_reference("hold-reason", n, at) for n in range(200))
    yield (
        "reference",
        reference,
        (
            (*_reference("customer", many + 1, at)[:2], n + 1, *_reference("customer", many + 1, at)[3:])
            for n in range(1_000)
        ),
    )


def _record(n: int, lots: int, at: str, *, closed: bool) -> Row:
    kind = ("nonconformance", "deviation", "corrective_action")[n % 3]
    opened = f"{2020 + n % 6}-{1 + n % 12:02}-{1 + n % 28:02}T08:00:00.000000Z"
    content = {
        "record": f"NC-{n:06}",
        "kind": kind,
        "severity": "major",
        "status": "closed" if closed else "open",
        "text": "bent at the edge of the flange, four of thirty",
        "opened_at": opened,
        "owner": "QE-1",
        "due_on": "2026-01-31",
    }
    status = content["status"]
    return (
        lot_name(n * 3 % lots),
        content["record"],
        kind,
        "major",
        status,
        _json(content),
        opened,
        "QE-1",
        "2026-01-31",
        at if closed else None,
    )


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
    return (
        kind,
        key,
        1,
        "2026-01-01",
        item if about else None,
        supplier if kind == "fact" and n % 2 else None,
        body,
        digest,
        at,
        "erp",
    )


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
        kept = (
            connection.execute(text("SELECT * FROM journal WHERE lot = :lot ORDER BY version"), wanted).mappings().all()
        )
        row = connection.execute(text("SELECT * FROM lots WHERE id = :lot"), wanted).mappings().one()
        telling = connection.execute(text("SELECT * FROM deliveries WHERE lot = :lot"), wanted).mappings().first()
    names = Entry.__struct_fields__
    last = Entry(**{name: kept[-1][name] for name in names})
    entries, head = [], last.hash
    for version in range(last.version + 1, last.version + 1 + many):
        # A refusal changes nothing of the lot but its version.
        entry = msgspec.structs.replace(
            last,
            version=version,
            kind="refusal",
            event_id=f"again-{version}",
            state_before=last.state_after,
            prev_hash=head,
            hash="",
        )
        head = entry_hash(entry)
        entries.append(msgspec.structs.replace(entry, hash=head))
    put(store, "journal", names, (msgspec.structs.astuple(entry) for entry in entries))
    lot = msgspec.structs.replace(decode_lot(row["snapshot"]), version=entries[-1].version, head=head, results_after=0)
    with store.engine.begin() as connection:
        connection.execute(
            text("UPDATE lots SET version = :version, head = :head, snapshot = :snapshot WHERE id = :lot"),
            {"version": lot.version, "head": head, "snapshot": _json(lot), "lot": GIANT},
        )
    values = _json(
        [
            {
                "characteristic": f"c{n % 40:02}" if n % 40 else "diameter",
                "value": f"74.0{n % 9}",
                "unit": "mm",
                "sample": n,
            }
            for n in range(1, 201)
        ]
    )
    put(
        store,
        "results",
        ("lot", "version", "inspection", "measurements"),
        ((GIANT, last.version + 1 + n, f"IL-{n}", values) for n in range(min(500, many))),
    )
    hold = (
        "lot",
        "hold",
        "reason",
        "text",
        "scope",
        "source",
        "applied_at",
        "applied_version",
        "lifted_at",
        "lifted_version",
    )
    put(
        store,
        "holds",
        hold,
        (
            (GIANT, f"H-{n}", "SUSPECT", "", "lot", "qms", last.recorded_at, n + 1_000, last.recorded_at, n + 1_001)
            for n in range(min(1_000, many))
        ),
    )
    if telling is not None:
        columns = [name for name in telling if name != "id"]
        put(
            store,
            "deliveries",
            columns,
            (tuple({**telling, "version": n + 1_000, "state": "delivered"}[c] for c in columns) for n in range(many)),
        )


def _json(value: Any) -> str:
    return _encode(value).decode()
