"""Reference data in the browser: what is in force on a day, a record with its revisions, whose it is, what rests on it.

What may not enter: SQL, what a record means (engine/reference.py), changing it: that is for the system that owns it.
"""

import asyncio
from typing import Any

import msgspec
from litestar import Response, get
from litestar.handlers import HTTPRouteHandler
from msgspec import Struct

from api.answers import visit_of
from api.console.render import AnyRequest, Pages, links
from api.door import path_part
from api.queries import MAX_VERSION, cursor_after, number_of, one_of, position_of, read_query
from api.reference import day_of, references_of
from engine.known import KINDS, LIVE
from engine.ownership import Owners
from engine.reference import Record, record_owners
from engine.runtime import Front

HOME = "/console/reference"
_ROWS = 100
#: Revisions that one page shows.
_REVISIONS = 50
#: Rows of one listing that a page shows.
_LISTED = 200


class Line(Struct, frozen=True):
    """One line of a content: where, and what."""

    name: str
    value: str


class Listing(Struct, frozen=True):
    """Things of one kind in a content, one a row: characteristics of a plan, lines of an order."""

    name: str
    columns: list[str]
    rows: list[list[str]]
    #: What does not fit on a page.
    left_out: int


class Content(Struct, frozen=True):
    """What a revision says."""

    withdrawn: bool
    lines: list[Line]
    listings: list[Listing]


def reference_pages(engine: Front, pages: Pages) -> list[HTTPRouteHandler]:
    """The routes, for Litestar."""
    references, owners = references_of(engine), record_owners(engine.settings)

    @get(HOME)
    async def records(request: AnyRequest) -> Response[bytes]:
        """Records of one kind that are in force on a day."""
        asked = read_query(request.scope, ("kind", "on", "item", "key", "cursor"), blank=True)
        kind = one_of(asked, "kind", tuple(KINDS)) or next(iter(KINDS))
        day, after = day_of(asked.get("on"), engine.today()), position_of(asked) or ""

        def look() -> dict[str, Any]:
            rows, following = references.page(kind, day, asked.get("item"), after, _ROWS, begins=asked.get("key"))
            more = {"kind": kind, "item": asked.get("item"), "key": asked.get("key"), "on": asked.get("on")}
            onward = None if following is None else links(HOME, {**more, "cursor": cursor_after(following)})
            return {"rows": [(row, summary_of(row)) for row in rows], "onward": onward, "asked": more}

        return pages.page(
            request, "reference.html", kinds=tuple(KINDS), kind=kind, day=day, owned=whose(owners, kind),
            **await asyncio.to_thread(look),
        )  # fmt: skip

    @get(HOME + "/{kind:str}/{key:str}")
    async def record(request: AnyRequest, kind: str, key: str) -> Response[bytes]:
        """One record: every revision, whose it is, and what a change of it would touch."""
        asked = read_query(request.scope, ("before",), blank=True)
        before = None if "before" not in asked else number_of(asked["before"], "before", MAX_VERSION)
        name, named = path_part(kind), path_part(key)

        def look() -> dict[str, Any]:
            revisions = references.revisions(name, named)
            behind = revisions if before is None else [row for row in revisions if row.revision < before]
            shown = behind[-_REVISIONS:]
            today = engine.today().isoformat()
            return {
                "revisions": [(row, content_of(row)) for row in reversed(shown)],
                "earlier": shown[0].revision if len(shown) < len(behind) else None, "later": before is not None,
                "now": in_force(revisions, today, live=name in LIVE), "affects": references.affected(name, named),
            }  # fmt: skip

        found = await asyncio.to_thread(look)
        mine = visit_of(request.scope).principal
        return pages.page(
            request, "record.html", kind=name, key=named, owned=whose(owners, name),
            yours=mine.may("edit-reference"), **found,
        )  # fmt: skip

    return [records, record]


def whose(owners: Owners, kind: str) -> list[tuple[str, list[str]]]:
    """The systems of record of a kind, and of single fields of it; the empty name is the whole."""
    mine = {owned: names for owned, names in owners.items() if owned.partition(".")[0] == kind}
    return [(owned.partition(".")[2], sorted(names)) for owned, names in sorted(mine.items())]


def in_force(revisions: list[Record], day: str, *, live: bool) -> int | None:
    """The number of the revision that is in force on ``day``; None: none is."""
    if live:
        return revisions[-1].revision
    begun = [row for row in revisions if row.effective_from <= day]
    newest = max(begun, key=lambda row: (row.effective_from, row.revision), default=None)
    ended = newest is None or (newest.effective_until is not None and newest.effective_until < day)
    return None if newest is None or ended or bytes(newest.content) == b"null" else newest.revision


def content_of(record: Record) -> Content:
    """A content as lines, and as tables where it has many things of one kind."""
    said = msgspec.json.decode(record.content)
    lines: list[Line] = []
    listings: list[Listing] = []
    for name, value in (said or {}).items():
        if _is_listing(value):
            listings.append(_listing(_words(name), value))
        else:
            _spread("" if name == "fields" and isinstance(value, dict) else _words(name), value, lines)
    return Content(said is None, lines, listings)


def summary_of(record: Record) -> list[Line]:
    """The first words of a content: what is said once, and how many there are of the rest."""
    found: list[Line] = []
    for name, value in msgspec.json.decode(record.content).items():
        if _is_listing(value):
            found.append(Line(_words(name), str(len(value))))
        else:
            _spread("" if name == "fields" and isinstance(value, dict) else _words(name), value, found)
    return found


def _is_listing(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], dict)


def _words(name: str) -> str:
    return name.replace("_", " ")


def _listing(name: str, things: list[dict[str, Any]]) -> Listing:
    spread: list[dict[str, str]] = []
    for thing in things[:_LISTED]:
        cells: list[Line] = []
        _spread("", thing, cells)
        spread.append({line.name: line.value for line in cells})
    columns = list(dict.fromkeys(column for cells in spread for column in cells))
    rows = [[cells.get(column, "–") for column in columns] for cells in spread]
    return Listing(name, columns, rows, len(things) - len(spread))


def _spread(name: str, value: Any, found: list[Line]) -> None:
    """``value`` and what is in it, as lines under their names."""
    if isinstance(value, dict) and value.keys() == {"value", "unit"}:
        found.append(Line(name or "quantity", f"{value['value']} {value['unit']}"))
    elif isinstance(value, dict) and value:
        for inner, one in value.items():
            _spread(f"{name} · {_words(inner)}" if name else _words(inner), one, found)
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        for number, one in enumerate(value, 1):
            _spread(f"{name} {number}", one, found)
    elif value is not None and value not in ({}, []):
        words = ", ".join(map(str, value)) if isinstance(value, list) else value
        found.append(Line(name, {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(words)))
