"""A row and what it becomes: an event with an id that the same row always gets, or a record. Pure.

A column that is empty says nothing: a member of the template that names it is left out, and so is a part of which
every named column is empty. What may not enter: files, HTTP, time.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from datetime import date, datetime, tzinfo
from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec
from msgspec import Struct

from actors.connectors.template import names_in
from actors.inbound.format import Column, GivesEvent, GivesRecord, Inbound
from engine import events as ev
from engine.clock import in_utc
from engine.decoding import decode_event
from engine.errors import EventInvalid
from engine.known import KINDS
from engine.reference import Record

#: What stands in a column: a text of a file, or what a sheet or JSON says is more than that. Null: nothing.
Cell = str | Decimal | bool | date | datetime | None
_PLAIN = re.compile(r"[+-]?\d+(\.\d+)?([eE][+-]?\d{1,2})?")
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
#: Of a number written out, before or behind the point.
MAX_DIGITS = 60
MAX_INTEGER_DIGITS = 18
_NAME = re.compile(r"\$\{([^}]*)\}")


class RowWrong(Exception):
    """A row cannot be used: which column or member is to blame, and why."""

    def __init__(self, column: str, detail: str) -> None:
        super().__init__(detail)
        self.column = column
        self.detail = detail
        #: The row to blame; None: all that were read together.
        self.row: int | None = None


class Row(Struct, frozen=True):
    """One row, and where it stands in its file or list, from 1. ``raw``: as it came, for whoever mends it."""

    number: int
    cells: dict[str, Cell]
    raw: Sequence[Any] = ()
    #: Why it cannot be used at all.
    problem: str = ""


class RecordRow(Struct, frozen=True):
    """A revision that a row says; without ``effective_from`` from the day on which it is first seen."""

    kind: str
    key: str
    content: msgspec.Raw
    effective_from: date | None = None
    effective_until: date | None = None


def become(inbound: Inbound, *rows: Row, timezone: tzinfo) -> ev.Event | RecordRow:
    """What ``rows`` become: one, or several that are one event. Raises RowWrong, with the row that is to blame."""
    known = []
    for row in rows:
        try:
            known.append(_known(inbound, row, timezone))
        except RowWrong as error:
            error.row = row.number
            raise
    if inbound.event is not None:
        return _event(inbound.event, known)
    if inbound.record is None:
        raise AssertionError("an inbound file without event and record is not loaded")
    return _record(inbound.record, known[0])


def grouped(inbound: Inbound, rows: Sequence[Row]) -> list[list[Row]]:
    """Rows that are one event together, in order of the first of each; without ``group_by`` each is alone."""
    if not inbound.group_by:
        return [[row] for row in rows]
    groups: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        key = tuple(_plain(row.cells.get(name) or "").strip() for name in inbound.group_by)
        groups.setdefault(key, []).append(row)
    return list(groups.values())


def _known(inbound: Inbound, row: Row, timezone: tzinfo) -> dict[str, Any]:
    """What the columns of a row say; those that are empty are not there."""
    if row.problem:
        raise RowWrong("", row.problem)
    known = {}
    for name in inbound.columns:
        value = _read(inbound, name, inbound.column(name), row.cells.get(name), timezone)
        if value is not None:
            known[name] = value
    return known


def event_id(event: ev.Event) -> str:
    """The id of an event that has none of its own: by its business document, else by all that it says.

    The same row has it for ever, in whatever file it comes again.
    """
    document = ev.business_key(event)
    if document is not None:
        return f"document/{hashlib.sha256(document.encode()).hexdigest()[:32]}"
    when = "" if event.time is None else ev.utc(event.time).isoformat()
    said = f"{ev.digest(event, ev.content(event))}\n{when}"
    return f"content/{hashlib.sha256(said.encode()).hexdigest()[:32]}"


def same_in_force(revisions: Sequence[Record], content: msgspec.Raw, kind: str, day: str) -> bool:
    """Does the revision in force on ``day`` say the same as ``content``?"""
    begun = [one for one in revisions if one.effective_from <= day]
    newest = max(begun, key=lambda one: (one.effective_from, one.revision), default=None)
    if newest is None or (newest.effective_until is not None and newest.effective_until < day):
        return False
    return _canonical(kind, newest.content) == _canonical(kind, content)


def _canonical(kind: str, content: msgspec.Raw) -> bytes:
    return msgspec.json.encode(msgspec.json.decode(content, type=KINDS[kind] | None))


def _event(gives: GivesEvent, known: Sequence[Mapping[str, Any]]) -> ev.Event:
    tree = {"specversion": "1.0", "type": gives.type, "id": "-", "data": _together("data", gives.data, known) or {}}
    for name in ("source", "subject", "id"):
        template = getattr(gives, name)
        if template is not None:
            _text(name, template, known[0])
            tree[name] = str(_together(name, template, known))
    if gives.time is not None:
        tree["time"] = _together("time", gives.time, known)
    try:
        event = decode_event(msgspec.json.encode(tree))
    except EventInvalid as error:
        raise RowWrong(error.pointer.removeprefix("/"), error.detail) from None
    return event if gives.id is not None else msgspec.structs.replace(event, id=event_id(event))


def _record(gives: GivesRecord, known: Mapping[str, Any]) -> RecordRow:
    key = _text("key", gives.key, known)
    if not 1 <= len(key) <= 64:
        raise RowWrong("key", f"{key[:80]!r} is no key: a key has 1 to 64 characters")
    content = msgspec.json.encode(filled(gives.content, known) or {})
    try:
        msgspec.json.decode(content, type=KINDS[gives.kind])
    except msgspec.ValidationError as error:
        raise RowWrong("content", str(error)) from None
    first = _day("effective_from", gives.effective_from, known)
    last = _day("effective_until", gives.effective_until, known)
    if gives.effective_from is not None and first is None:
        raise RowWrong("effective_from", "is empty: from which day on does it hold?")
    return RecordRow(gives.kind, key, msgspec.Raw(content), first, last)


def _day(member: str, template: str | None, known: Mapping[str, Any]) -> date | None:
    said = None if template is None else filled(template, known)
    if said is None:
        return None
    try:
        return date.fromisoformat(str(said))
    except ValueError:
        raise RowWrong(member, f"{said!r} is no day; the column has to be a date") from None


def _text(member: str, template: str, known: Mapping[str, Any]) -> str:
    said = filled(template, known)
    if said is None:
        raise RowWrong(member, f"is empty: {template} needs a value")
    return str(said)


def _together(member: str, template: Any, known: Sequence[Mapping[str, Any]]) -> Any:
    """``template`` with the values of rows that are one event: lists have parts from each, all else must agree."""
    if len(known) == 1:
        return filled(template, known[0])
    if isinstance(template, dict):
        found = {name: _together(f"{member}.{name}", inner, known) for name, inner in template.items()}
        return {name: value for name, value in found.items() if value is not None}
    if isinstance(template, list):
        parts: list[Any] = []
        for one in known:
            # The same said twice is said once.
            parts += [part for part in filled(template, one) if part not in parts]
        return parts
    said = list(dict.fromkeys(value for one in known if (value := filled(template, one)) is not None))
    if len(said) > 1:
        raise RowWrong(member, f"rows that are one event say different things: {said[0]!r}, {said[1]!r}")
    return said[0] if said else None


def filled(template: Any, known: Mapping[str, Any]) -> Any:
    """``template`` with the row's values; None: every column that it names is empty, or a text lacks one."""
    if isinstance(template, dict):
        found = {name: filled(inner, known) for name, inner in template.items()}
        found = {name: value for name, value in found.items() if value is not None}
        named = list(names_in(template))
        return None if named and not any(name in known for name in named) else found
    if isinstance(template, list):
        return [value for value in (filled(inner, known) for inner in template) if value is not None]
    if not isinstance(template, str):
        return template
    whole = _NAME.fullmatch(template)
    if whole is not None:
        return known.get(whole[1].strip())
    if any(name not in known for name in names_in(template)):
        return None
    return _NAME.sub(lambda match: str(known[match[1].strip()]), template)


def _read(inbound: Inbound, name: str, column: Column, cell: Cell, timezone: tzinfo) -> Any:
    """What a cell means, as JSON can say it; None: nothing stands there."""
    if isinstance(cell, str):
        cell = cell.strip()
    if cell is None or cell == "":
        return None
    try:
        _refuse(cell)
        if column.type == "text":
            return _plain(cell)
        if column.type == "decimal":
            return f"{_number(inbound, cell):f}"
        if column.type == "integer":
            number = _number(inbound, cell)
            if number != number.to_integral_value() or number.adjusted() >= MAX_INTEGER_DIGITS:
                raise ValueError("is no whole number")
            return int(number)
        if column.type == "date":
            return _as_day(column, cell).isoformat()
        if column.type == "time":
            return _as_instant(column, cell, timezone)
        return _as_yes_no(column, cell)
    except (ValueError, InvalidOperation) as error:
        words = str(error) if isinstance(error, ValueError) else "is no number"
        raise RowWrong(name, f"{str(cell)[:80]!r} {words}") from None


def _refuse(cell: Cell) -> None:
    """What no column may hold: databases choke on the one, memory on the other written out (1e999999999)."""
    if isinstance(cell, str) and _CONTROL.search(cell):
        raise ValueError("has control characters in it. Control characters are not allowed in any text")
    if isinstance(cell, Decimal) and (not cell.is_finite() or abs(cell.adjusted()) > MAX_DIGITS):
        raise ValueError("is no number of this world")


def _plain(cell: Cell) -> str:
    if isinstance(cell, bool):
        return "true" if cell else "false"
    if isinstance(cell, Decimal):
        return f"{cell:f}"
    return cell.isoformat() if isinstance(cell, date) else str(cell)


def _number(inbound: Inbound, cell: Cell) -> Decimal:
    if isinstance(cell, Decimal):
        return cell
    if not isinstance(cell, str):
        raise ValueError("is no number")
    text = cell
    if inbound.thousands is not None and inbound.thousands in text:
        whole = text.split(inbound.decimal)[0].lstrip("+-").split(inbound.thousands)
        # 1.234 is a thousand only in groups of three: 12.5 in such a file is somebody's mistake, not 125.
        if not 1 <= len(whole[0]) <= 3 or any(len(group) != 3 for group in whole[1:]):
            raise ValueError(f"is no number with {inbound.thousands!r} between thousands")
        text = text.replace(inbound.thousands, "")
    if inbound.decimal != "." and "." in text:
        raise ValueError(f"is no number with the decimal sign {inbound.decimal!r}")
    text = text.replace(inbound.decimal, ".")
    if not _PLAIN.fullmatch(text) or not text.isascii():
        raise ValueError(f"is no number with the decimal sign {inbound.decimal!r}")
    return Decimal(text)


def _as_day(column: Column, cell: Cell) -> date:
    if isinstance(cell, datetime):
        if (cell.hour, cell.minute, cell.second) != (0, 0, 0):
            raise ValueError("is an instant, not a day")
        return cell.date()
    if isinstance(cell, date):
        return cell
    form = column.format or "%Y-%m-%d"
    try:
        return datetime.strptime(_plain(cell), form).date()  # noqa: DTZ007 - a calendar day of the plant
    except ValueError:
        raise ValueError(f"is no day like {form}") from None


def _as_instant(column: Column, cell: Cell, timezone: tzinfo) -> str:
    try:
        if isinstance(cell, datetime):
            moment = cell
        elif column.format is None:
            moment = datetime.fromisoformat(_plain(cell))
        else:
            moment = datetime.strptime(_plain(cell), column.format)  # noqa: DTZ007 - the plant's zone is put to it
    except ValueError:
        raise ValueError(f"is no instant like {column.format or 'ISO 8601'}") from None
    # What says nothing of a zone is the plant's time.
    aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=timezone)
    return in_utc(aware).isoformat().replace("+00:00", "Z")


def _as_yes_no(column: Column, cell: Cell) -> bool:
    if isinstance(cell, bool):
        return cell
    word = _plain(cell)
    if word in column.yes:
        return True
    if word in column.no:
        return False
    raise ValueError(f"is neither yes ({', '.join(column.yes)}) nor no ({', '.join(column.no)})")
