"""An inbound file: where rows come from, what their columns mean, and what a row becomes. Checked when it is loaded.

``kind: drop`` takes files from a folder, ``kind: pull`` fetches rows over HTTP. A row becomes an event or a record of
reference data; ``${column}`` is replaced by what stands in that column, and nothing is calculated. What may not enter:
reading rows, and what becomes of them.
"""

import difflib
import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints

import msgspec
from msgspec import Meta, Struct

from actors.connectors.auth import Auth
from actors.connectors.format import filled_auth, own_address, read_checked, wrong_auth_part, wrong_header
from actors.connectors.template import names_in
from engine.events import TYPES
from engine.known import KINDS
from engine.settings import Settings

#: text as it stands · decimal · integer · date (a calendar day) · time (an instant) · yes_no
ColumnType = Literal["text", "decimal", "integer", "date", "time", "yes_no"]
Name = Annotated[str, Meta(pattern="^[a-z][a-z0-9_]{0,39}$")]


class Column(Struct, frozen=True, forbid_unknown_fields=True):
    """How what stands in a column is read."""

    type: ColumnType = "text"
    #: date and time: as in ``%d.%m.%Y``; none: ISO 8601.
    format: str | None = None
    #: yes_no: the words for each, as they are written.
    yes: tuple[str, ...] = ("true", "yes", "1")
    no: tuple[str, ...] = ("false", "no", "0")


class Field(Struct, frozen=True, forbid_unknown_fields=True):
    """A column of a fixed-width file: its first character, counted from 1, and how many it has."""

    name: str
    at: Annotated[int, Meta(ge=1, le=100_000)]
    width: Annotated[int, Meta(ge=1, le=10_000)]


class Table(Struct, frozen=True, forbid_unknown_fields=True):
    """What a file looks like."""

    format: Literal["csv", "fixed", "xlsx"] = "csv"
    encoding: str = "utf-8-sig"
    delimiter: Annotated[str, Meta(min_length=1, max_length=1)] = ","
    #: Lines before the header, or before the first row where there is no header.
    skip: Annotated[int, Meta(ge=0, le=1000)] = 0
    #: csv, xlsx without a header: the columns, in order.
    names: list[str] = []
    #: fixed: the columns.
    fields: list[Field] = []
    #: xlsx: the sheet; none: the first one.
    sheet: str | None = None


class Drop(Struct, frozen=True, forbid_unknown_fields=True):
    """The folder that files are dropped into. A relative one is looked for from the inbound file's own folder."""

    folder: str
    #: Which files: a pattern such as ``*.csv``, without regard to case.
    files: Annotated[str, Meta(min_length=1, max_length=100)] = "*"
    #: A file is taken when it has not changed for this long.
    settle_s: Annotated[float, Meta(ge=0, le=3600)] = 5.0
    max_mb: Annotated[int, Meta(ge=1, le=200)] = 20
    max_rows: Annotated[int, Meta(ge=1, le=500_000)] = 50_000


class Watermark(Struct, frozen=True, forbid_unknown_fields=True):
    """Which member of a row says how new it is; what is older than the newest is not fetched again."""

    member: str
    type: Literal["time", "integer"] = "time"
    #: Fetched again all the same: seconds, or that many numbers. For what was committed late, or stamped by two clocks.
    overlap: Annotated[int, Meta(ge=0)] = 600
    #: Before anything was fetched.
    start: str = "1970-01-01T00:00:00Z"


class Pull(Struct, frozen=True, forbid_unknown_fields=True):
    """What is fetched: GET, page by page. Its path may name ``${since}``, ``${cursor}``, ``${page}``, ``${offset}``."""

    base_url: str
    path: Annotated[str, Meta(pattern="^/")]
    headers: dict[str, str] = {}
    #: How the system knows who calls; none: by the headers.
    auth: Auth | None = None
    #: Calls a second; none: as many as it takes.
    per_second: Annotated[float, Meta(gt=0)] | None = None
    #: Member of the answer that the rows stand in, with dots; none: the answer is the list.
    items: str | None = None
    #: one: there are no further pages · cursor: ``next`` is the next ``${cursor}`` · link: ``next`` is an address of
    #: the same system · page, offset: until a page has no rows.
    paging: Literal["one", "cursor", "link", "page", "offset"] = "one"
    next: str = "next"
    watermark: Watermark | None = None
    timeout_s: Annotated[float, Meta(gt=0, le=120)] = 10.0
    #: Calls of one page before it is given up.
    attempts: Annotated[int, Meta(ge=1, le=10)] = 4
    max_pages: Annotated[int, Meta(ge=1, le=100_000)] = 1_000


class GivesEvent(Struct, frozen=True, forbid_unknown_fields=True):
    """The event that a row becomes."""

    type: str
    source: str
    #: The lot.
    subject: str
    data: dict[str, Any]
    #: None: made from the business document in it, or from all that it says.
    id: str | None = None
    time: str | None = None


class GivesRecord(Struct, frozen=True, forbid_unknown_fields=True):
    """The record of reference data that a row becomes."""

    kind: str
    key: str
    content: dict[str, Any]
    #: None: in force from the day on which it is first seen so.
    effective_from: str | None = None
    effective_until: str | None = None
    #: Pull: records that it gave and that the whole list does not have any more are withdrawn, at most so many at once.
    #: 0: none ever.
    withdraw_at_most: Annotated[int, Meta(ge=0, le=100_000)] = 0


class Inbound(Struct, frozen=True, forbid_unknown_fields=True):
    """One inbound file."""

    inbound: Literal[1]
    name: Name
    kind: Literal["drop", "pull"]
    columns: dict[str, ColumnType | Column]
    drop: Drop | None = None
    table: Table = Table()
    pull: Pull | None = None
    event: GivesEvent | None = None
    record: GivesRecord | None = None
    #: Drop: rows that say the same in these columns are one event; its lists have a part from each of them.
    group_by: list[str] = []
    #: How often the clock process looks.
    every_s: Annotated[float, Meta(ge=0.2, le=2_678_400)] = 10.0
    #: Pull: not every so often, but daily at this time of the plant, such as 02:30.
    daily_at: Annotated[str, Meta(pattern="^([01][0-9]|2[0-3]):[0-5][0-9]$")] | None = None
    #: How numbers are written in texts.
    decimal: Literal[".", ","] = "."
    #: What stands between thousands, and is left away; none: a number that has it is refused.
    thousands: Literal[".", ",", " ", "'"] | None = None
    #: Values of the secrets that the file names; filled in at load.
    secrets: dict[str, str] = {}

    def column(self, name: str) -> Column:
        """How a column is read."""
        said = self.columns[name]
        return Column(said) if isinstance(said, str) else said


#: What a pull's path may name.
PAGING = ("since", "cursor", "page", "offset")


def load(path: Path, settings: Settings) -> Inbound:
    """The inbound file at ``path``. Raises ConnectorInvalid, with file, line, column and every mistake."""
    used: set[str] = set()

    def wrong(one: Inbound) -> Iterator[tuple[str, str]]:
        if one.name != path.stem:
            yield "name", f"is not the name of the file, {path.stem}"
        yield from _wrong(one, settings, used)

    found = read_checked(path, Inbound, wrong)
    secrets = {f"secret.{name}": settings.secrets[name] for name in used}
    pull, drop = found.pull, found.drop
    if pull is not None:
        base_url = own_address(pull.base_url, settings) or ""
        pull = msgspec.structs.replace(pull, base_url=base_url, auth=filled_auth(pull.auth, settings))
    if drop is not None:
        drop = msgspec.structs.replace(drop, folder=str(path.resolve().parent / drop.folder))
    return msgspec.structs.replace(found, secrets=secrets, pull=pull, drop=drop)


def files_of(settings: Settings) -> list[Path]:
    """The inbound files of this installation, in order; none where no folder is set."""
    if not settings.inbound:
        return []
    return sorted(path for path in Path(settings.inbound).glob("*.yaml") if path.is_file())


def _wrong(one: Inbound, settings: Settings, used: set[str]) -> Iterator[tuple[str, str]]:
    """Every mistake that the types do not see: where, and what."""
    other: Literal["drop", "pull"] = "pull" if one.kind == "drop" else "drop"
    if getattr(one, one.kind) is None:
        yield "kind", f"a {one.kind} needs a part {one.kind}:"
    if getattr(one, other) is not None:
        yield other, f"is of no use in a {one.kind}"
    if one.secrets:
        yield "secrets", "secrets are never written here: name them as ${secret.NAME} in headers"
    if (one.event is None) == (one.record is None):
        yield "", "say what a row becomes: either event: or record:"
    if one.decimal == one.thousands:
        yield "thousands", "is the same as decimal"
    for name in one.group_by:
        if name not in one.columns:
            yield "group_by", f"{name} is no column"
    if one.group_by and (one.kind != "drop" or one.event is None):
        yield "group_by", "is for files whose rows become events"
    yield from _wrong_columns(one)
    yield from _wrong_table(one)
    yield from _wrong_gives(one)
    if one.pull is not None:
        yield from _wrong_pull(one, one.pull, settings, used)
    elif one.daily_at is not None:
        yield "daily_at", "is for a pull; a drop has every_s"


def _wrong_columns(one: Inbound) -> Iterator[tuple[str, str]]:
    if not one.columns:
        yield "columns", "name the columns that are used, and how they are read"
    for name in one.columns:
        column = one.column(name)
        if column.format is not None and column.type not in ("date", "time"):
            yield f"columns.{name}", f"a {column.type} has no format"
        elif column.format is not None:
            try:
                again = datetime.strptime(_A_DAY.strftime(column.format), column.format)  # noqa: DTZ007
            except (ValueError, re.error):
                again = None
            if again is None or again.date() != _A_DAY.date():
                yield f"columns.{name}", f"{column.format!r} does not give year, month and day; such as %d.%m.%Y"
        both = set(column.yes) & set(column.no)
        if both:
            yield f"columns.{name}", f"{sorted(both)[0]!r} means yes and no"


#: A day whose year, month and day cannot be taken for one another.
_A_DAY = datetime(2031, 10, 24, 13, 57, 8)  # noqa: DTZ001


def _wrong_table(one: Inbound) -> Iterator[tuple[str, str]]:
    table = one.table
    if one.kind == "pull":
        if table != Table():
            yield "table", "is for files"
        return
    try:
        "".encode(table.encoding)
    except LookupError:
        yield "table.encoding", f"there is no encoding {table.encoding}; such as utf-8, cp1252, latin-1"
    known = [field.name for field in table.fields] if table.format == "fixed" else table.names
    if table.format == "fixed" and not table.fields:
        yield "table.fields", "a fixed-width file needs its columns: name, at, width"
    if table.format != "fixed" and table.fields:
        yield "table.fields", "is for fixed-width files"
    if table.format == "fixed" and table.names:
        yield "table.names", "a fixed-width file has fields"
    if len(set(known)) < len(known):
        yield "table", "a column is there twice"
    end = 0
    for index, field in enumerate(sorted(table.fields, key=lambda f: f.at)):
        if field.at <= end:
            yield f"table.fields[{index}]", f"{field.name} begins before the column in front of it has ended"
        end = field.at + field.width - 1
    if known:
        for name in one.columns:
            if name not in known:
                yield f"columns.{name}", f"the table has no column {name}"


def _wrong_gives(one: Inbound) -> Iterator[tuple[str, str]]:
    for part in ("event", "record"):
        gives = getattr(one, part)
        if gives is not None:
            for member in gives.__struct_fields__:
                for name in names_in(getattr(gives, member)):
                    if name is None:
                        yield f"{part}.{member}", "a ${ is not closed"
                    elif name not in one.columns:
                        near = difflib.get_close_matches(name, one.columns, 1)
                        meant = f"; is {near[0]} meant?" if near else ""
                        yield f"{part}.{member}", f"${{{name}}} is no column{meant}"
    if one.event is not None:
        if one.event.type not in TYPES:
            near = difflib.get_close_matches(one.event.type, TYPES, 1)
            meant = f"; is {near[0]} meant?" if near else ""
            yield "event.type", f"there is no event type {one.event.type}{meant}"
        else:
            data = get_type_hints(TYPES[one.event.type])["data"]
            yield from _wrong_members("event.data", one.event.data, data)
    if one.record is not None:
        if one.record.kind not in KINDS:
            yield "record.kind", f"there is no kind of reference data {one.record.kind}; there are {', '.join(KINDS)}"
        else:
            yield from _wrong_members("record.content", one.record.content, KINDS[one.record.kind])
        if one.record.withdraw_at_most and one.pull is not None and one.pull.watermark is not None:
            yield "record.withdraw_at_most", "what is missing can only be told from a whole list, without a watermark"
        if one.record.withdraw_at_most and one.pull is None:
            yield "record.withdraw_at_most", "is for a pull"


def _wrong_members(where: str, template: dict[str, Any], struct: type[Struct]) -> Iterator[tuple[str, str]]:
    fields = {field.name: field for field in msgspec.structs.fields(struct)}
    for name in template:
        if name not in fields:
            near = difflib.get_close_matches(name, fields, 1)
            meant = f"; is {near[0]} meant?" if near else f"; there are {', '.join(fields)}"
            yield f"{where}.{name}", f"there is no {name} in it{meant}"
    missing = [name for name, field in fields.items() if field.required and name not in template]
    if missing:
        yield where, f"lacks {', '.join(missing)}"


def _wrong_pull(one: Inbound, pull: Pull, settings: Settings, used: set[str]) -> Iterator[tuple[str, str]]:
    if own_address(pull.base_url, settings) is None:
        words = "is no http or https address, or names one that is not set (LOTGATE_URL_NAME for ${url.name})"
        yield "pull.base_url", f"{pull.base_url!r} {words}"
    named = set(names_in(pull.path))
    for name in sorted(str(n) for n in named - set(PAGING)):
        yield "pull.path", f"${{{name}}} is not known; known: {', '.join(PAGING)}" if name != "None" else "${ is open"
    for paging in ("cursor", "page", "offset"):
        if pull.paging == paging and paging not in named:
            yield "pull.path", f"paging by {paging} needs ${{{paging}}} in the path, or the same page came for ever"
        if pull.paging != paging and paging in named:
            yield "pull.path", f"${{{paging}}} is for paging: {paging}"
    if (pull.watermark is not None) != ("since" in named):
        yield "pull.path", "a watermark and ${since} in the path belong together"
    mark = pull.watermark
    if mark is not None and mark.type == "integer" and not mark.start.isdigit():
        yield "pull.watermark", "say from which number it starts: start: \"0\""
    for header, value in pull.headers.items():
        yield from wrong_header(f"pull.headers.{header}", value, settings, used)
    yield from ((f"pull.{where}", words) for where, words in wrong_auth_part(pull.auth, settings, used))
