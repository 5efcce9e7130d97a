"""Remarks as people and tools read them: text with the line and a caret, JSON, GitHub annotations, SARIF 2.1.0."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from rules.findings import Location
from rules.lint.remark import Level, Remark

#: Source: SARIF 2.1.0, OASIS standard, 27 March 2020.
_SARIF_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
_WORD = re.compile(r"[\w.~-]+")
#: Longer lines are cut around the place that is meant.
_WIDTH = 110
_DOTS = "…"


def text(remarks: Sequence[Remark], sources: Mapping[str, str]) -> str:
    """For people: every remark with its line, a caret under the place, and what was probably meant."""
    return "\n".join(_one(remark, sources) for remark in remarks)


def _one(remark: Remark, sources: Mapping[str, str]) -> str:
    at = remark.location
    parts = [f"{at}: {remark.level.value}: {remark.message} [{remark.check}]"]
    parts += excerpt(at, sources)
    if remark.hint:
        parts.append(f"    {remark.hint}")
    return "\n".join(parts)


def excerpt(at: Location, sources: Mapping[str, str]) -> list[str]:
    """The line that ``at`` points into, and a caret under it; nothing when there is no such line."""
    lines = sources.get(at.file, "").splitlines()
    if not 0 < at.line <= len(lines):
        return []
    line = lines[at.line - 1].expandtabs(1)
    column = min(at.column - 1, len(line))
    found = _WORD.match(line, column)
    length = max(1, found.end() - column) if found else 1
    if len(line) > _WIDTH:
        start = max(0, min(column - _WIDTH // 2, len(line) - _WIDTH))
        before = _DOTS if start else ""
        line, column = before + line[start : start + _WIDTH], column - start + len(before)
    number, caret = str(at.line), "^" * min(length, len(line) - column + 1)
    return [f"  {number} | {line}", f"  {' ' * len(number)} | {' ' * column}{caret}"]


def as_json(remarks: Sequence[Remark]) -> str:
    """For tools of one's own: a list of objects."""
    return json.dumps(
        [
            {
                "check": r.check,
                "level": r.level.value,
                "file": r.location.file,
                "line": r.location.line,
                "column": r.location.column,
                "message": r.message,
                "hint": r.hint,
            }
            for r in remarks
        ],
        ensure_ascii=False,
        indent=2,
    )


def github(remarks: Sequence[Remark], root: str) -> str:
    """Workflow commands that GitHub shows beside the lines of a change; ``root``: the directory of the files."""
    return "\n".join(
        f"::{r.level.value} file={_property(_path(root, r.location.file))},line={r.location.line},"
        f"col={r.location.column},title={_property(r.check)}::{_message(r)}"
        for r in remarks
    )


def _message(remark: Remark) -> str:
    words = f"{remark.message} ({remark.hint})" if remark.hint else remark.message
    return words.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(value: str) -> str:
    escaped = value.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
    return escaped.replace(":", "%3A").replace(",", "%2C")


def _path(root: str, file: str) -> str:
    return (PurePosixPath(root) / file).as_posix()


def sarif(remarks: Sequence[Remark], root: str, version: str) -> str:
    """For code scanning: one run, one rule a check."""
    checks = sorted({r.check for r in remarks})
    run = {
        "tool": {
            "driver": {
                "name": "lotgate",
                "version": version,
                "informationUri": "https://github.com/lotgate/lotgate",
                "rules": [{"id": name, "name": name} for name in checks],
            }
        },
        "columnKind": "unicodeCodePoints",
        "results": [_result(r, root, checks) for r in remarks],
    }
    return json.dumps({"$schema": _SARIF_SCHEMA, "version": "2.1.0", "runs": [run]}, ensure_ascii=False, indent=2)


def _result(remark: Remark, root: str, checks: list[str]) -> dict[str, Any]:
    words = f"{remark.message} ({remark.hint})" if remark.hint else remark.message
    return {
        "ruleId": remark.check,
        "ruleIndex": checks.index(remark.check),
        "level": "error" if remark.level is Level.ERROR else "warning",
        "message": {"text": words},
        "locations": [
            {
                "physicalLocation": {
                    "artifactLocation": {"uri": _path(root, remark.location.file)},
                    "region": {"startLine": remark.location.line, "startColumn": remark.location.column},
                }
            }
        ],
    }
