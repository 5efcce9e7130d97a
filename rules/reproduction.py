"""A case on which the two engines did not agree, in a file that holds all it takes to try it again.

Files are JSON with the rule files, the facts and what each engine said: enough to run the case on another machine,
in a test, or under a debugger. No judging here.
"""

import hashlib
from pathlib import Path

import msgspec
from msgspec import Struct

from rules.rulebook import Case

#: Files that are kept in a directory; the oldest make room.
KEPT = 50


class Reproduction(Struct, frozen=True):
    """A disagreement, whole."""

    rule_set: str
    #: File name -> text of every rule file.
    sources: dict[str, str]
    case: Case
    #: Ids of the rules that the reference fails.
    reference: list[str]
    #: What the second engine said: ids of failing rules, or why it said nothing.
    second: list[str] | str


def keep(reproduction: Reproduction, directory: Path) -> Path:
    """Write ``reproduction`` into ``directory``; the same case is written once. Raises OSError."""
    text = msgspec.json.format(msgspec.json.encode(reproduction), indent=1)
    about = hashlib.sha256(msgspec.json.encode((reproduction.rule_set, reproduction.case))).hexdigest()[:12]
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{reproduction.case.gate}-{about}.json"
    if not path.exists():
        draft = path.with_suffix(".draft")
        draft.write_bytes(text)
        draft.replace(path)
        kept = sorted(directory.glob("*.json"), key=lambda file: file.stat().st_mtime)
        for old in kept[:-KEPT]:
            old.unlink(missing_ok=True)
    return path


def load(path: Path) -> Reproduction:
    """The disagreement in the file at ``path``. Raises OSError and msgspec.DecodeError."""
    return msgspec.json.decode(path.read_bytes(), type=Reproduction)
