"""Reference data as it comes in files: a JSON object a line, or CSV with a header; one row at a time, however many.

A row that cannot be read spoils only itself. In CSV the columns ``key``, ``effective_from``, ``effective_until`` and
``withdrawn`` are of the record; the others are its content, by the names of its fields (``lines.quantity.value``).
Rows of one key that follow each other are one record where its content has lists; ``|`` stands between plain values of
a list. What may not enter: keeping anything, HTTP.
"""

import codecs
import csv
import io
import re
from collections import deque
from collections.abc import Iterable, Iterator
from datetime import date
from typing import IO, Any

import msgspec
from msgspec import Struct, inspect

from engine.errors import EventInvalid
from engine.known import KINDS
from engine.reference import Key

#: A row of CSV, with line ends inside quotation marks; a line of JSON.
MAX_ROW_BYTES, MAX_ROW_LINES, MAX_LINE_BYTES = 64 * 1024, 100, 1024 * 1024
#: Rows that are one record: more than any list of one may have.
MAX_ROWS_TOGETHER = 5_000
ENCODINGS = ("utf-8", "iso-8859-1", "windows-1252")
_OWN = ("key", "effective_from", "effective_until", "withdrawn")
_ELEMENT = re.compile(r"\[(\d+)\]")


class Line(Struct, frozen=True, forbid_unknown_fields=True):
    """One line of an import: a revision, and the key of its record."""

    key: Key
    effective_from: date
    content: msgspec.Raw
    effective_until: date | None = None


class Read(Struct, frozen=True):
    """A record of a file, or why there is none."""

    #: Where it begins, or what is to blame; where it ends.
    line: int
    until: int
    record: Line | None = None
    key: str | None = None
    detail: str = ""
    pointer: str = ""


class _Row(Struct, frozen=True):
    line: int
    until: int
    cells: dict[str, str]
    problem: str = ""


def json_lines(file: IO[bytes], after: int = 0) -> Iterator[Read]:
    """What stands in each line behind ``after``; empty lines are none."""
    for number, line in _lines(file, MAX_LINE_BYTES):
        if number <= after or (line is not None and not line.strip()):
            continue
        if line is None:
            yield Read(number, number, detail=f"The line is longer than {MAX_LINE_BYTES} bytes.")
            continue
        try:
            yield Read(number, number, msgspec.json.decode(line, type=Line))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            yield Read(number, number, detail=str(error))


class CsvRecords:
    """The records of a CSV file. Raises EventInvalid for a header that says nothing of the kind."""

    def __init__(self, kind: str, file: IO[bytes], encoding: str = "utf-8") -> None:
        self._kind = kind
        self._codec = "utf-8-sig" if codecs.lookup(encoding).name == "utf-8" else encoding
        self._columns, self._lists = _columns_of(kind)
        self._lines = _lines(file, MAX_ROW_BYTES)
        number, first = next(self._lines, (0, b""))
        try:
            header = "" if first is None else first.decode(self._codec)
        except UnicodeDecodeError:
            raise EventInvalid(f"The header is not {encoding}; say charset in Content-Type.") from None
        self._delimiter = ";" if ";" in header else "\t" if "\t" in header else ","
        self._names = [name.strip() for name in next(csv.reader([header], delimiter=self._delimiter), [])]
        self._check_header()
        self._pushed: deque[tuple[int, bytes | None]] = deque()
        self._until = number

    def __call__(self, after: int = 0) -> Iterator[Read]:
        """Every record whose rows stand behind the line ``after``."""
        together: list[_Row] = []
        for row in self._rows():
            if row.line <= after:
                continue
            if together and not self._belongs(together, row):
                yield self._record(together)
                together = []
            if len(together) < MAX_ROWS_TOGETHER:
                together.append(row)
            else:
                words = f"More than {MAX_ROWS_TOGETHER} rows are one record."
                together[-1] = _Row(row.line, row.until, row.cells, words)
        if together:
            yield self._record(together)

    def _check_header(self) -> None:
        names = [name for name in self._names if name]
        missing = [name for name in ("key", "effective_from") if name not in names]
        twice = sorted({name for name in names if names.count(name) > 1})
        unknown = [name for name in names if name not in _OWN and self._path_of(name) is None]
        known = ", ".join((*_OWN, *self._columns)) + (", and the fields of the fact" if self._kind == "fact" else "")
        if missing:
            raise EventInvalid(f"The header has no column {', '.join(missing)}; there are {known}.")
        if twice or unknown:
            words = f"the column {twice[0]} twice" if twice else f"a column {unknown[0][:80]}"
            raise EventInvalid(f"The header has {words}; there are {known}.")

    def _path_of(self, name: str) -> tuple[str, ...] | None:
        path = self._columns.get(name)
        if path is None and self._kind == "fact":
            return ("fields", name.removeprefix("fields."))
        return path

    def _belongs(self, together: list[_Row], row: _Row) -> bool:
        same = [row.cells.get(name) for name in _OWN] == [together[0].cells.get(name) for name in _OWN]
        return bool(self._lists) and same and bool(row.cells.get("key"))

    # -- rows --------------------------------------------------------------------------------------------------

    def _next(self) -> tuple[int, bytes | None] | None:
        return self._pushed.popleft() if self._pushed else next(self._lines, None)

    def _rows(self) -> Iterator[_Row]:
        while (taken := self._next()) is not None:
            number, raw = taken
            if raw is None:
                yield _Row(number, number, {}, f"The row is longer than {MAX_ROW_BYTES} bytes.")
                continue
            more: list[tuple[int, bytes | None]] = []
            closed = not _is_open(raw, self._delimiter)
            while not closed and len(more) < MAX_ROW_LINES and len(raw) <= MAX_ROW_BYTES:
                further = self._next()
                if further is None:
                    break
                more.append(further)
                if further[1] is None:
                    break
                raw += further[1]
                closed = not _is_open(raw, self._delimiter)
            if not closed:
                self._pushed.extendleft(reversed(more))  # they are rows of their own
                yield _Row(number, number, {}, "A quotation mark is opened and not closed.")
            elif raw.strip():
                yield self._row(number, more[-1][0] if more else number, raw)

    def _row(self, number: int, until: int, raw: bytes) -> _Row:
        try:
            text = raw.decode(self._codec)
            cells = next(csv.reader(io.StringIO(text, newline=""), delimiter=self._delimiter), [])
        except UnicodeDecodeError as error:
            return _Row(number, until, {}, f"The row is not {self._codec.removesuffix('-sig')} (byte {error.start}).")
        except csv.Error as error:
            return _Row(number, until, {}, f"The row is not CSV: {error}.")
        found = {name: cell.strip() for name, cell in zip(self._names, cells, strict=False) if name}
        if any(cell.strip() for cell in cells[len(self._names) :]):
            words = f"The row has {len(cells)} cells, and there are {len(self._names)} columns."
            return _Row(number, until, found, words)
        return _Row(number, until, found)

    # -- records -----------------------------------------------------------------------------------------------

    def _record(self, rows: list[_Row]) -> Read:
        first, until = rows[0], rows[-1].until
        key = first.cells.get("key") or None
        for row in rows:
            if row.problem:
                return Read(row.line, until, None, key, row.problem)
        try:
            content = b"null" if self._is_withdrawn(first) else msgspec.json.encode(self._content(rows))
            said: dict[str, Any] = {name: first.cells[name] for name in _OWN[:3] if first.cells.get(name)}
            line = msgspec.convert(said | {"content": msgspec.Raw(content)}, type=Line)
        except msgspec.ValidationError as error:
            words, _, where = str(error).partition(" - at `$")
            pointer = "/" + _ELEMENT.sub(r".\1", where.rstrip("`").lstrip(".")).replace(".", "/") if where else ""
            return Read(first.line, until, None, key, f"{words}.", pointer)
        except _Wrong as error:
            return Read(error.line, until, None, key, error.detail, error.pointer)
        return Read(first.line, until, line, key)

    def _is_withdrawn(self, row: _Row) -> bool:
        word = row.cells.get("withdrawn", "").lower()
        if word not in ("", "yes", "no", "true", "false"):
            raise _Wrong(row.line, f"withdrawn is yes or no, not {word[:40]}.", "/withdrawn")
        return word in ("yes", "true")

    def _content(self, rows: list[_Row]) -> Any:
        tree: dict[str, Any] = {}
        for row in rows:
            self._add(tree, row)
        if self._kind == "fact":
            tree.setdefault("fields", {})
        try:
            return msgspec.convert(tree, type=KINDS[self._kind], strict=False)
        except msgspec.ValidationError as error:
            words, _, where = str(error).partition(" - at `$")
            element = _ELEMENT.search(where)
            row = rows[int(element[1])] if element is not None and int(element[1]) < len(rows) > 1 else rows[0]
            pointer = "/content/" + _ELEMENT.sub(r".\1", where.rstrip("`").lstrip(".")).replace(".", "/")
            raise _Wrong(row.line, f"{words}.", pointer.rstrip("/")) from None

    def _add(self, tree: dict[str, Any], row: _Row) -> None:
        """Put what a row says into the content: a new element of each list, and what all rows say alike."""
        elements: dict[tuple[str, ...], dict[str, Any]] = {}
        for name, cell in row.cells.items():
            path = None if name in _OWN else self._path_of(name)
            if path is None or not cell:
                continue
            of = next((one for one in self._lists if path[: len(one)] == one and len(path) > len(one)), None)
            at: dict[str, Any] = tree
            steps, last = path[:-1], path[-1]
            if of is not None:
                at, steps = elements.setdefault(of, {}), path[len(of) : -1]
            for step in steps:
                at = at.setdefault(step, {})
            if path in self._lists:
                values = at.setdefault(last, [])
                values += [part.strip() for part in cell.split("|") if part.strip() and part.strip() not in values]
            elif at.setdefault(last, cell) != cell:
                words = f"Rows of one record say different things of {name}: {str(at[last])[:40]} and {cell[:40]}."
                raise _Wrong(row.line, words, "/content/" + "/".join(path))
        for of, element in elements.items():
            at = tree
            for step in of[:-1]:
                at = at.setdefault(step, {})
            at.setdefault(of[-1], []).append(element)


class _Wrong(Exception):
    def __init__(self, line: int, detail: str, pointer: str) -> None:
        super().__init__(detail)
        self.line, self.detail, self.pointer = line, detail, pointer


def _columns_of(kind: str) -> tuple[dict[str, tuple[str, ...]], list[tuple[str, ...]]]:
    """Columns of a kind's content with their paths, and the paths that are lists."""
    columns: dict[str, tuple[str, ...]] = {}
    lists: list[tuple[str, ...]] = []

    def walk(info: inspect.Type, path: tuple[str, ...]) -> None:
        if isinstance(info, inspect.UnionType):
            left = [one for one in info.types if not isinstance(one, inspect.NoneType)]
            info = left[0] if len(left) == 1 else inspect.StrType()
        if isinstance(info, inspect.ListType):
            lists.append(path)
            if isinstance(info.item_type, inspect.StructType):
                info = info.item_type
        if isinstance(info, inspect.StructType):
            for field in info.fields:
                walk(field.type, (*path, field.encode_name))
        elif not isinstance(info, inspect.DictType):
            columns[".".join(path)] = path

    walk(inspect.type_info(KINDS[kind]), ())
    return columns, lists


def _lines(file: IO[bytes], most: int) -> Iterator[tuple[int, bytes | None]]:
    """Number and bytes of each line; None for one that is too long."""
    number = 0
    while line := file.readline(most + 1):
        number += 1
        if len(line) <= most:
            yield number, line
            continue
        while line and not line.endswith(b"\n"):
            line = file.readline(most)
        yield number, None


def _is_open(raw: bytes, delimiter: str) -> bool:
    """Does a quoted cell begin and not end? A mark inside a cell that does not begin with one is part of it."""
    if b'"' not in raw:
        return False
    between, at, starts = ord(delimiter), 0, True
    while at < len(raw):
        if starts and raw[at] == 0x22:
            at = raw.find(b'"', at + 1)
            while at >= 0 and raw[at + 1 : at + 2] == b'"':
                at = raw.find(b'"', at + 2)
            if at < 0:
                return True
            starts = False
        else:
            starts = raw[at] == between
        at += 1
    return False


def records_of(kind: str, file: IO[bytes], media_type: str, encoding: str, after: int) -> Iterable[Read]:
    """The records of a file of one of the two media types. Raises EventInvalid for a CSV header that does not fit."""
    return CsvRecords(kind, file, encoding)(after) if media_type == "text/csv" else json_lines(file, after)
