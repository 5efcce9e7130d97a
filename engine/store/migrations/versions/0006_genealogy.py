"""Genealogy: what went into what. Links of entries that are journaled already are made up."""

import json
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

IDENTITY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

TYPES = ("lot.produced.v1", "lot.consumed.v1", "lot.split_off.v1")


def upgrade() -> None:
    op.create_table(
        "links",
        sa.Column("lot", sa.Text, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("parent", sa.Text, nullable=False),
        sa.Column("child", sa.Text, nullable=False),
        sa.Column("quantity", sa.Text, nullable=False),
        sa.Column("unit", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("lot", "version", "number"),
    )
    op.create_table(
        "spreading",
        sa.Column("id", IDENTITY, primary_key=True, autoincrement=True),
        sa.Column("lot", sa.Text, nullable=False),
        sa.Column("hold", sa.Text),
        sa.Column("cause", sa.Text, nullable=False),
    )
    op.create_index("links_parent", "links", ["parent"])
    op.create_index("links_child", "links", ["child"])
    connection = op.get_bind()
    wanted = sa.text(
        "SELECT position, lot, version, type, data FROM journal WHERE position > :after AND kind <> 'refusal'"
        " AND type IN ('lot.produced.v1', 'lot.consumed.v1', 'lot.split_off.v1') ORDER BY position LIMIT 1000"
    )
    into = sa.text("INSERT INTO links VALUES (:lot, :version, :number, :kind, :parent, :child, :quantity, :unit)")
    after = 0
    while rows := connection.execute(wanted, {"after": after}).all():
        after = rows[-1].position
        links = [link for row in rows for link in _links(row.lot, row.version, row.type, json.loads(row.data))]
        if links:
            connection.execute(into, links)


def _links(lot: str, version: int, type_: str, data: dict[str, Any]) -> list[dict[str, Any]]:
    if type_ == "lot.split_off.v1":
        found = [("split", f"lot:{data['parent']}", f"lot:{lot}", data["lot"]["quantity"], data["lot"]["unit"])]
    elif type_ == "lot.consumed.v1":
        found = [("consume", f"lot:{lot}", f"order:{data['order']}", data["quantity"]["value"], data["quantity"]["unit"])]
    else:
        found = [("produce", f"order:{data['order']}", f"lot:{lot}", data["quantity"]["value"], data["quantity"]["unit"])]
        found += [
            ("input", f"lot:{part['lot']}", f"lot:{lot}", part["quantity"]["value"], part["quantity"]["unit"])
            for part in data.get("inputs", [])
        ]
    names = ("kind", "parent", "child", "quantity", "unit")
    return [
        {"lot": lot, "version": version, "number": n} | dict(zip(names, map(str, link), strict=True))
        for n, link in enumerate(found)
    ]
