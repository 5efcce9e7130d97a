"""Tables of a rule file: inline rows, or a CSV file of a spreadsheet. Read late, when their types are known."""

import csv
import io
from collections.abc import Mapping
from itertools import pairwise

from msgspec import Struct

from rules.compiled import Range, Table, Type, Value, build_index
from rules.conditions import TableShape
from rules.facts import BadValue, parse_value, show
from rules.findings import Findings, Location, did_you_mean
from rules.parse import Node
from rules.units import NotANumber, parse_number

#: A cell that means "no limit".
EMPTY = "~"


class Cell(Struct, frozen=True):
    """A cell as it is written."""

    text: str
    at: Location


class RawTable(Struct):
    """A table whose cells are still texts."""

    shape: TableShape
    at: Location
    rows: list[list[Cell]]


def read_table(
    name: str, key: Node, body: Node, sources: Mapping[str, str], findings: Findings
) -> RawTable | None:
    """The table written at ``body``: match, columns, and rows or csv."""
    entries = body.entries or {}
    for word, (node, _) in entries.items():
        if word not in ("match", "columns", "rows", "csv"):
            hint = did_you_mean(word, ("match", "columns", "rows", "csv"))
            findings.add(node.at, f'"{word}" is not known in a table', hint)
    match = _words(entries, "match", key, findings)
    if "csv" in entries:
        columns, rows = _from_csv(entries["csv"][1], key.at.file, sources, findings)
    else:
        columns, rows = _words(entries, "columns", key, findings), _from_rows(entries, key, findings)
    if not match or not columns:
        return None
    for word in match:
        if word not in columns:
            words = f'table {name} matches on "{word}", which is not one of its columns'
            findings.add(key.at, words, did_you_mean(word, columns))
            return None
    shape = TableShape(name, tuple(columns), tuple(match), {}, {})
    for row in rows:
        if len(row) != len(columns):
            where = row[0].at if row else key.at
            findings.add(where, f"table {name}: this row has {len(row)} cells, the table has {len(columns)} columns")
    return RawTable(shape, key.at, [row for row in rows if len(row) == len(columns)])


def _words(entries: dict[str, tuple[Node, Node]], name: str, key: Node, findings: Findings) -> list[str]:
    entry = entries.get(name)
    if entry is None or not entry[1].items:
        findings.add(key.at, f'a table has "{name}: [a, b, …]"')
        return []
    return [item.text or "" for item in entry[1].items]


def _from_rows(entries: dict[str, tuple[Node, Node]], key: Node, findings: Findings) -> list[list[Cell]]:
    entry = entries.get("rows")
    if entry is None or entry[1].items is None:
        findings.add(key.at, 'a table has "rows:", or "csv:" with the name of a file')
        return []
    rows = []
    for row in entry[1].items:
        if row.items is None:
            findings.add(row.at, "a row is a list of cells: [a, b, 1.5]")
            continue
        cells = [Cell(cell.text if cell.text is not None else "", cell.at) for cell in row.items]
        rows.append(cells)
    return rows


def _from_csv(
    node: Node, file: str, sources: Mapping[str, str], findings: Findings
) -> tuple[list[str], list[list[Cell]]]:
    name = node.text or ""
    if not name or "/" in name or not name.endswith(".csv"):
        findings.add(node.at, "csv: names a .csv file beside this one, without a folder")
        return [], []
    text = sources.get(file.rpartition("/")[0] + "/" + name if "/" in file else name)
    if text is None:
        findings.add(node.at, f"there is no file {name} beside this one", "its name ends in .csv; save it as CSV UTF-8")
        return [], []
    first = text.split("\n", 1)[0]
    delimiter = ";" if first.count(";") > first.count(",") else ","
    reader = csv.reader(io.StringIO(text), delimiter=delimiter)
    lines = [(reader.line_num, row) for row in reader if row and not row[0].startswith("#")]
    if not lines:
        findings.add(node.at, f"the file {name} is empty")
        return [], []
    rows = [
        [Cell(cell.strip(), Location(name, number, column + 1)) for column, cell in enumerate(row)]
        for number, row in lines[1:]
    ]
    return [word.strip() for word in lines[0][1]], rows


def finish(raw: RawTable, findings: Findings) -> Table:
    """The table with its cells parsed by the types its columns are used with; overlaps are refused."""
    shape = raw.shape
    range_at = _range_column(raw)
    table = Table(
        shape.name, shape.columns, shape.match, {c: shape.types.get(c, Type.CODE) for c in shape.columns}, [], range_at,
        [], {}, {},
    )  # fmt: skip
    origins: list[Location] = []
    for cells in raw.rows:
        row: dict[str, Value | None] = {}
        bounds: Range | None = None
        for column, cell in zip(shape.columns, cells, strict=True):
            if range_at is not None and column == shape.match[range_at]:
                bounds = _range(cell, shape.name, column, findings)
            else:
                row[column] = _cell(cell, shape, column, findings)
        if range_at is not None and bounds is None:
            continue
        table.rows.append(row)
        table.ranges.append(bounds or Range(0, 0))
        origins.append(cells[0].at)
        _limits(row, shape, cells[0].at, findings)
    build_index(table)
    _overlaps(table, origins, findings)
    return table


def _range_column(raw: RawTable) -> int | None:
    for at, column in enumerate(raw.shape.match):
        place = raw.shape.columns.index(column)
        if any(".." in row[place].text for row in raw.rows):
            return at
    return None


def _range(cell: Cell, table: str, column: str, findings: Findings) -> Range | None:
    low, dots, high = cell.text.partition("..")
    try:
        found = Range(parse_number(low.strip()), parse_number((high if dots else low).strip()))
    except NotANumber as error:
        findings.add(cell.at, f"table {table}, column {column}: {error}", error.hint or "a range is written 2..8")
        return None
    if found.low > found.high:
        findings.add(cell.at, f"table {table}, column {column}: the range {cell.text} ends before it begins")
        return None
    return found


def _cell(cell: Cell, shape: TableShape, column: str, findings: Findings) -> Value | None:
    if cell.text in (EMPTY, ""):
        return None
    try:
        return parse_value(cell.text, shape.types.get(column, Type.CODE), (), f"column {column}")
    except BadValue as error:
        findings.add(cell.at, f"table {shape.name}, column {column}: {error}", error.hint)
        return None


def _limits(row: dict[str, Value | None], shape: TableShape, at: Location, findings: Findings) -> None:
    lower, upper = row.get("lower"), row.get("upper")
    if isinstance(lower, int) and isinstance(upper, int) and lower > upper:
        kind = shape.types.get("lower", Type.NUMBER)
        words = f"the lower limit {show(lower, kind)} is above the upper limit {show(upper, kind)}"
        findings.add(at, f"table {shape.name}: {words}")


def _overlaps(table: Table, origins: list[Location], findings: Findings) -> None:
    for numbers in table.index.values():
        for first, second in pairwise(numbers):
            if table.range_at is None or table.ranges[second].low <= table.ranges[first].high:
                late, early = max(first, second), min(first, second)
                words = f"this row covers the same case as line {origins[early].line}"
                findings.add(origins[late], f"table {table.name}: {words}",
                             f"rows must not overlap in {', '.join(table.match)}")  # fmt: skip
