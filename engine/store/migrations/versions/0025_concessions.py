"""What is used under concessions, over all the lots that cite them; results in process."""

import json
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from itertools import groupby
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0024"


def upgrade() -> None:
    op.create_table(
        "concessions",
        *(sa.Column(name, sa.Text, nullable=False) for name in ("number", "unit", "used")),
        sa.Column("permitted", sa.Text),
        sa.Column("changes", sa.BigInteger, nullable=False),
        *(sa.Column(name, sa.Text, nullable=False) for name in ("first_at", "changed_at")),
        sa.PrimaryKeyConstraint("number", "unit"),
    )
    names = ("number", "lot", "unit", "quantity", "first_at", "changed_at")
    op.create_table(
        "concession_uses",
        *(sa.Column(name, sa.Text, nullable=False) for name in names),
        sa.Column("plant", sa.Text),
        sa.PrimaryKeyConstraint("number", "lot", "unit"),
    )
    op.create_table(
        "operation_results",
        sa.Column("lot", sa.Text, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        *(sa.Column(name, sa.Text, nullable=False) for name in ("operation", "inspection", "measurements")),
        sa.PrimaryKeyConstraint("lot", "version"),
    )
    _count_what_is_used()


#: Steps after which what is still there counts no longer.
_AGAIN = ("rework", "repair", "reinspect", "retest_due", "return")
#: Journals of lots that are, or ever were, used by a concession: decided so, or born of a lot that was.
_JOURNALS = (
    'SELECT j.lot, j.version, j."trigger", j.data, j.recorded_at, l.plant FROM journal j JOIN lots l ON l.id = j.lot'
    " WHERE j.kind <> 'refusal' AND j.lot IN (SELECT lot FROM journal WHERE kind <> 'refusal' AND (\"trigger\" = 'use_as_is'"
    " OR (\"trigger\" IN ('split_off', 'merge') AND data LIKE :born))) ORDER BY j.lot, j.version"
)
#: Lots of which the journal is in the archive: they count with all that was ever consumed of them.
_ARCHIVED = (
    "SELECT l.id, l.snapshot, l.plant FROM lots l WHERE l.concession_until IS NOT NULL"
    " AND NOT EXISTS (SELECT 1 FROM journal j WHERE j.lot = l.id AND j.version = 1) ORDER BY l.id"
)
_CONSUMED = "SELECT quantity FROM links WHERE parent = :lot AND kind = 'consume'"
#: What a concession was said to permit: when, how much, unit.
Said = tuple[str, Decimal, str]


def _count_what_is_used() -> None:
    """What was used before concessions were counted counts: of each lot as engine/concessions.py would have done it."""
    connection, now = op.get_bind(), datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    used: dict[tuple[str, str], Decimal] = {}
    said: dict[str, list[Said]] = {}
    for lot, plant, counted, limits in (*_from_journals(connection), *_from_archive(connection)):
        for number, limit in limits:
            said.setdefault(number, []).append(limit)
        for (number, unit), quantity in counted.items():
            used[number, unit] = used.get((number, unit), Decimal(0)) + quantity
            connection.execute(
                sa.text("INSERT INTO concession_uses VALUES (:number, :lot, :unit, :quantity, :now, :now, :plant)"),
                {"number": number, "lot": lot, "unit": unit, "quantity": format(quantity, "f"), "now": now, "plant": plant},
            )
    permitted = {(number, unit): value for number, limits in said.items() for value, unit in [_limit(limits)]}
    for number, unit in sorted({*used, *permitted}):
        total, most = used.get((number, unit), Decimal(0)), permitted.get((number, unit))
        connection.execute(
            sa.text("INSERT INTO concessions VALUES (:number, :unit, :total, :permitted, 1, :now, :now)"),
            {"number": number, "unit": unit, "total": format(total, "f"), "now": now,
             "permitted": None if most is None else format(most, "f")},
        )  # fmt: skip


def _limit(said: list[Said]) -> tuple[Decimal, str]:
    """The smallest in the unit that was said first: where lots say different limits, none of them may be exceeded."""
    unit = min(said, key=lambda one: one[0])[2]
    return min(value for _, value, of in said if of == unit), unit


Found = tuple[str, str | None, dict[tuple[str, str], Decimal], list[tuple[str, Said]]]


def _from_journals(connection: Any) -> Iterator[Found]:
    rows = connection.execute(sa.text(_JOURNALS), {"born": '%"concession":{%'}).fetchall()
    for lot, mine in groupby(rows, key=lambda row: str(row[0])):
        entries = list(mine)
        if entries[0][1] == 1:
            one = _Lot()
            for _, _, trigger, data, at, _ in entries:
                one.step(trigger, json.loads(data, parse_float=Decimal), at)
            yield lot, entries[0][5], one.counted, one.said


def _from_archive(connection: Any) -> Iterator[Found]:
    for lot, snapshot, plant in connection.execute(sa.text(_ARCHIVED)).fetchall():
        tree = json.loads(snapshot, parse_float=Decimal)
        concession, unit = tree["concession"], tree["unit"]
        gone = connection.execute(sa.text(_CONSUMED), {"lot": f"lot:{lot}"}).fetchall()
        counted = _amount(tree["quantity"]) + sum((_amount(row[0]) for row in gone), Decimal(0))
        limit = concession.get("quantity")
        said = [] if not limit else [(concession["number"], (tree["changed_at"], _amount(limit["value"]), limit["unit"]))]
        yield lot, plant, {(concession["number"], unit): counted}, said


class _Lot:
    """A lot as its journal tells it: its quantity, the concession that it is used by, what counts of it under which."""

    def __init__(self) -> None:
        self.quantity, self.unit = Decimal(0), ""
        self.number: str | None = None
        self.counted: dict[tuple[str, str], Decimal] = {}
        self.said: list[tuple[str, Said]] = []
        #: What records decided.
        self.decided: dict[str, Any] = {}

    def step(self, trigger: str, data: Any, at: str) -> None:
        if trigger in ("receive", "produce", "start_production"):
            self.quantity, self.unit = _amount(data["quantity"]["value"]), data["quantity"]["unit"]
        elif trigger in ("split_off", "merge"):
            self._born(data)
        elif trigger == "record_changed" and data.get("step") == "decide":
            self.decided[data["record"]] = data.get("dispositions") or ()
        elif trigger == "use_as_is":
            self._used(data, at)
        elif trigger in _AGAIN:
            back = _amount(data["quantity"]["value"]) if trigger == "return" else self.quantity
            self._less(back)
            self.number, self.quantity = None, back
        elif trigger == "consume":
            self.quantity -= _amount(data["quantity"]["value"])
        elif trigger == "merge_into":
            self._taken([data["quantity"]])
        elif trigger == "split":
            self._taken(child["quantity"] for child in data["children"])
        elif trigger == "repack":
            self._taken(pack.get("used") or pack["quantity"] for pack in data.get("into") or ())
        elif trigger == "decide_usage":
            self._taken(part["quantity"] for part in data["parts"])

    def _born(self, data: Any) -> None:
        born, used = data["lot"], data.get("used")
        self.quantity, self.unit = _amount(born["quantity"]), born["unit"]
        self.decided = {one["record"]: one.get("dispositions") or () for one in born.get("records") or ()}
        if born.get("concession"):
            self.number = born["concession"]["number"]
            amount, unit = (_amount(used["value"]), used["unit"]) if used else (self.quantity, self.unit)
            self.counted[self.number, unit] = amount

    def _used(self, data: Any, at: str) -> None:
        decided = self.decided.get(data.get("record"), ())
        by_record = (one["concession"] for one in decided if one["decision"] == "use_as_is" and one.get("concession"))
        concession = data.get("concession") or next(by_record, None)
        number = None if concession is None else str(concession["number"])
        if number != self.number:
            self._less(self.quantity)
        if number is not None and concession is not None:
            key = (number, self.unit)
            there = self.counted.get(key, Decimal(0))
            # Used again by the same one, it counts once.
            self.counted[key] = max(there, self.quantity) if number == self.number else there + self.quantity
            limit = concession.get("quantity")
            if limit:
                self.said.append((number, (at, _amount(limit["value"]), limit["unit"])))
        self.number = number

    def _taken(self, quantities: Iterable[Any]) -> None:
        """What became lots of their own counts there."""
        amount = sum((_amount(one["value"]) for one in quantities), Decimal(0))
        self._less(amount)
        self.quantity -= amount

    def _less(self, quantity: Decimal) -> None:
        key = (self.number or "", self.unit)
        if key in self.counted:
            self.counted[key] -= min(quantity, self.counted[key])


def _amount(value: Any) -> Decimal:
    return Decimal(str(value))
