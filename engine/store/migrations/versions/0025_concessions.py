"""What is used under concessions, over all the lots that cite them; results in process."""

import json
from datetime import UTC, datetime
from decimal import Decimal
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


def _count_what_is_used() -> None:
    """Lots that are used by a concession already count with what is left of them, and what was consumed since."""
    connection, now = op.get_bind(), datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    used: dict[tuple[str, str], Decimal] = {}
    said: dict[str, set[tuple[str, str]]] = {}
    uses = []
    found = connection.execute(sa.text("SELECT id, snapshot FROM lots WHERE concession_until IS NOT NULL ORDER BY id"))
    for lot, snapshot in found.fetchall():
        tree = json.loads(snapshot, parse_float=Decimal)
        concession = tree["concession"]
        number, unit = concession["number"], tree["unit"]
        quantity = Decimal(str(tree["quantity"])) + _consumed(connection, lot)
        if concession.get("quantity"):
            limit = concession["quantity"]
            said.setdefault(number, set()).add((str(limit["value"]), limit["unit"]))
        used[number, unit] = used.get((number, unit), Decimal(0)) + quantity
        uses.append((number, lot, unit, format(quantity, "f"), now, now, tree.get("plant")))
    # Where lots say different limits, nobody knows which one holds: the next decision says it.
    alike = {number: next(iter(limits)) for number, limits in said.items() if len(limits) == 1}
    totals = [
        (number, unit, format(total, "f"), alike[number][0] if alike.get(number, ("", ""))[1] == unit else None)
        for (number, unit), total in used.items()
    ]
    for number, unit, total, permitted in totals:
        connection.execute(
            sa.text("INSERT INTO concessions VALUES (:number, :unit, :total, :permitted, 1, :now, :now)"),
            {"number": number, "unit": unit, "total": total, "permitted": permitted, "now": now},
        )
    for row in uses:
        connection.execute(
            sa.text("INSERT INTO concession_uses VALUES (:a, :b, :c, :d, :e, :f, :g)"), dict(zip("abcdefg", row, strict=True))
        )


def _consumed(connection: Any, lot: str) -> Decimal:
    """What was consumed of a lot since it was last used as it is."""
    query = sa.text(
        "SELECT \"trigger\", data FROM journal WHERE lot = :lot AND kind <> 'refusal'"
        " AND \"trigger\" IN ('use_as_is', 'consume') ORDER BY version"
    )
    total = Decimal(0)
    for trigger, data in connection.execute(query, {"lot": lot}).fetchall():
        quantity = json.loads(data, parse_float=Decimal).get("quantity") if trigger == "consume" else None
        total = total + Decimal(str(quantity["value"])) if quantity else Decimal(0)
    return total
