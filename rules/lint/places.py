"""Where a table's rows are written: in the file itself, or in a CSV file beside it."""

import csv
import io

from rules.findings import Location
from rules.parse import Node
from rules.rulebook import RuleBook


def table_node(book: RuleBook, name: str) -> tuple[Node, Node] | None:
    """The key and the body of a table."""
    for file in book.files:
        found = (file.root.entries or {}).get(f"table {name}")
        if found is not None:
            return found
    return None


def row_places(book: RuleBook, name: str) -> list[Location]:
    """Where each row of the table ``name`` begins, in order."""
    found = table_node(book, name)
    if found is None:
        return []
    key, body = found
    entries = body.entries or {}
    if "rows" in entries:
        return [row.at for row in entries["rows"][1].items or []]
    beside = key.at.file.rpartition("/")[0]
    file = (entries["csv"][1].text or "") if "csv" in entries else ""
    path = f"{beside}/{file}" if beside else file
    reader = csv.reader(io.StringIO(book.sources.get(path, "")))
    lines = [reader.line_num for row in reader if row and not row[0].startswith("#")]
    return [Location(path, line, 1) for line in lines[1:]]
