"""Files as rows: CSV, fixed width, XLSX; bounded, whole or not at all. What rows mean is in actors/inbound/rows.py.

A file comes from outside: it may be anything. Its size is looked at before it is opened, an XLSX file's unpacked size
before it is unpacked, and XML entities are refused (openpyxl reads through defusedxml).
"""

import csv
import io
import itertools
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any, BinaryIO

from actors.inbound.format import Inbound, Table
from actors.inbound.rows import Cell, Row
from engine.packed import Bounds, NoZip, PackedRefused, look

#: A sheet of 50,000 results of 30 columns unpacks to some 60 MB, in sheets, styles, strings and pictures; one of a
#: single repeated value packs to less than a hundredth.
BOUNDS = Bounds(most_bytes=200_000_000, most_parts=1_000, ratio=200, freely_bytes=2_000_000)
MAX_COLUMNS = 1_000
#: A spreadsheet keeps 15 digits of a number and shows no more; those behind are what binary arithmetic left.
SHEET_DIGITS = 15


class FileRefused(Exception):
    """Nothing of the file can be used; the message says why, and what to do."""


class Content:
    """A file's header, as it stands there, and its rows."""

    def __init__(self, header: Sequence[Any], rows: list[Row]) -> None:
        self.header = header
        self.rows = rows


def read(inbound: Inbound, file: BinaryIO) -> Content:
    """Every row of ``file``. Raises FileRefused."""
    table, most = inbound.table, inbound.drop.max_rows if inbound.drop is not None else 0
    if table.format == "xlsx":
        lines: Iterable[tuple[int, Sequence[Any]]] = _sheet(table, file)
    else:
        text = _decoded(table, file)
        lines = _csv(table, text) if table.format == "csv" else _fixed(text)
    # A CSV file has skipped them already: they need not be CSV.
    lines = iter(lines) if table.format == "csv" else itertools.islice(lines, table.skip, None)
    header: Sequence[Any] = ()
    if table.format == "fixed":
        names = [field.name for field in table.fields]
    elif table.names:
        names = table.names
    else:
        header = next(lines, (0, ()))[1]
        names = [str(name).strip() if name is not None else "" for name in header]
        _check_header(inbound, names)
    rows: list[Row] = []
    for number, raw in lines:
        if all(cell is None or cell == "" for cell in raw):
            continue
        if len(rows) >= most:
            raise FileRefused(f"it has more than {most} rows; drop it in parts, or set drop.max_rows")
        rows.append(_fixed_row(table, number, raw[0]) if table.format == "fixed" else _row(names, number, raw))
    return Content(header, rows)


def _check_header(inbound: Inbound, names: list[str]) -> None:
    for name in inbound.columns:
        if names.count(name) != 1:
            how = "has no column" if name not in names else "has more than one column"
            there = ", ".join(n for n in names if n)[:300] or "nothing"
            raise FileRefused(f"it {how} {name}; its header has {there}")


def _row(names: list[str], number: int, raw: Sequence[Any]) -> Row:
    if len(raw) > len(names) and any(cell not in (None, "") for cell in raw[len(names) :]):
        cells = dict(zip(names, raw, strict=False))
        return Row(number, cells, raw, f"it has {len(raw)} cells, and there are {len(names)} columns")
    return Row(number, dict(zip(names, raw, strict=False)), raw)


def _fixed_row(table: Table, number: int, line: str) -> Row:
    cells: dict[str, Cell] = {f.name: line[f.at - 1 : f.at - 1 + f.width] for f in table.fields}
    end = max(f.at - 1 + f.width for f in table.fields)
    behind = line[end:].strip()
    problem = f"{behind[:40]!r} stands behind the last column, which ends at {end}" if behind else ""
    return Row(number, cells, (line,), problem)


def _decoded(table: Table, file: BinaryIO) -> str:
    try:
        text = file.read().decode(table.encoding)
    except UnicodeError as error:
        where = f" (byte {error.start})" if isinstance(error, UnicodeDecodeError) else ""
        raise FileRefused(f"it is not {table.encoding}{where}; say table.encoding") from None
    if "\0" in text:
        raise FileRefused("it has zero bytes: it is no text")
    return text


def _csv(table: Table, text: str) -> Iterator[tuple[int, Sequence[Any]]]:
    lines = io.StringIO(text, newline="")
    for _ in range(table.skip):
        lines.readline()
    reader = csv.reader(lines, delimiter=table.delimiter, strict=True)
    try:
        for cells in reader:
            yield reader.line_num + table.skip, cells
    except csv.Error as error:
        raise FileRefused(f"line {reader.line_num + table.skip} is not CSV: {error}") from None


def _fixed(text: str) -> Iterator[tuple[int, Sequence[Any]]]:
    # Not splitlines: a form feed or a line separator inside a field is no end of a line.
    for number, line in enumerate(text.replace("\r\n", "\n").split("\n"), 1):
        yield number, ((line,) if line.strip() else ())


def _sheet(table: Table, file: BinaryIO) -> Iterator[tuple[int, Sequence[Any]]]:
    # Whole, for its size is bounded: what goes wrong from here on is the file's fault, and no disk's.
    content = io.BytesIO(file.read())
    _check_packed(content)
    # Late: nobody else needs it, and it is slow to import.
    from openpyxl import DEFUSEDXML, load_workbook

    if not DEFUSEDXML:
        raise FileRefused("defusedxml is not installed, without which XLSX from outside is not read")
    try:
        book = load_workbook(content, read_only=True, data_only=True, keep_links=False)
        try:
            if table.sheet is not None and table.sheet not in book.sheetnames:
                raise FileRefused(f"it has no sheet {table.sheet}; there are {', '.join(book.sheetnames)}")
            sheet = book[table.sheet] if table.sheet is not None else book.worksheets[0]
            for number, cells in enumerate(sheet.iter_rows(max_col=MAX_COLUMNS), 1):
                yield number, [_cell(cell) for cell in cells]
        finally:
            book.close()
    except (FileRefused, MemoryError):
        raise
    except Exception as error:
        # openpyxl and the parsers under it raise whatever they meet first in a file that is none.
        cause = error.__cause__ or error
        raise FileRefused(f"it cannot be read as XLSX: {type(cause).__name__}: {cause}"[:300]) from None


def _check_packed(content: io.BytesIO) -> None:
    """Before anything is unpacked. Raises FileRefused."""
    try:
        look(content, BOUNDS)
    except NoZip as error:
        raise FileRefused(f"it is no XLSX file: {error}") from None
    except PackedRefused as error:
        raise FileRefused(str(error)) from None


def _cell(cell: Any) -> Cell:
    value = cell.value
    if value is None or isinstance(value, bool | date | datetime):
        return value
    if isinstance(value, int):
        return Decimal(value)
    if isinstance(value, float):
        return Decimal(f"{value:.{SHEET_DIGITS}g}")
    # An error of a formula (#DIV/0!) is nothing that was measured.
    return f"{value} (an error in the sheet)" if getattr(cell, "data_type", "") == "e" else str(value)


def write(inbound: Inbound, content: Content, rows: Sequence[Row], to: BinaryIO) -> None:
    """``rows`` of a file as a file of the same kind, which can be mended and dropped again."""
    table = inbound.table
    if table.format == "xlsx":
        _write_sheet(table, content.header, rows, to)
        return
    text = io.StringIO(newline="")
    if table.format == "fixed":
        text.writelines(f"{row.raw[0]}\n" for row in rows)
    else:
        writer = csv.writer(text, delimiter=table.delimiter)
        if content.header:
            writer.writerow(content.header)
        writer.writerows(row.raw for row in rows)
    # What was skipped is skipped again.
    lines = "\n" * table.skip
    to.write((lines + text.getvalue()).encode(table.encoding))


def _write_sheet(table: Table, header: Sequence[Any], rows: Sequence[Row], to: BinaryIO) -> None:
    from openpyxl import Workbook
    from openpyxl.cell import WriteOnlyCell
    from openpyxl.cell.cell import ILLEGAL_CHARACTERS_RE

    book = Workbook(write_only=True)
    sheet = book.create_sheet(table.sheet or "rejected")

    def cell(value: Any) -> Any:
        if not isinstance(value, str):
            return value
        made = WriteOnlyCell(sheet, ILLEGAL_CHARACTERS_RE.sub("", value))
        # A text that begins with = stays a text: nothing from outside becomes a formula in our report.
        made.data_type = "s"
        return made

    for _ in range(table.skip):
        sheet.append([])
    for line in ([header] if header else []) + [row.raw for row in rows]:
        sheet.append([cell(value) for value in line])
    book.save(to)
