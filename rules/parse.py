"""YAML text to a tree of texts with positions, guarded.

Scalars stay the text that was written: ``no``, ``1.10``, ``08`` and ``6,0`` mean what the vocabulary's types make of
them, not what YAML would. The tree is made event by event, and what is too deep, too large, an anchor, an alias or a
tag is refused at its event: the library's own trees do not survive them all.
"""

from pathlib import Path
from typing import Any

import yaml
from msgspec import Struct

from rules.findings import Findings, Location

#: A rule file larger than this is a mistake, or an attack.
MAX_BYTES = 5_000_000
MAX_DEPTH = 32
MAX_NODES = 2_000_000

_Loader: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_QUOTED = frozenset({"'", '"', "|", ">"})
#: What the parser says, in its words, when a line does not stand below its neighbours.
_INDENTATION = (
    "could not find expected ':'",
    "did not find expected '-' indicator", "did not find expected key",
)  # fmt: skip


class Node(Struct):
    """A place in a rule file: a text, a list or a mapping. Exactly one of the three is set."""

    at: Location
    text: str | None = None
    items: "list[Node] | None" = None
    #: Keys in order of writing, with the node of the key.
    entries: "dict[str, tuple[Node, Node]] | None" = None
    quoted: bool = False


def read_text(path: Path, name: str, findings: Findings) -> str | None:
    """The text of the file at ``path``, or None after noting why there is none."""
    start = Location(name, 1, 1)
    try:
        if path.stat().st_size > MAX_BYTES:
            findings.add(start, f"the file is larger than {MAX_BYTES // 1_000_000} MB", "split it into several files")
            return None
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        findings.add(start, f"the file is not UTF-8 (byte {error.start})", "save it as UTF-8")
    except OSError as error:
        findings.add(start, f"the file cannot be read: {error.strerror}")
    return None


def parse(text: str, name: str, findings: Findings) -> Node | None:
    """The tree of ``text``, or None after noting why there is none."""
    tree = _Tree(name)
    try:
        loader = _Loader(text)
        try:
            if not tree.grow(loader, findings):
                return None
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = (mark.line if mark else 0) + 1
        column = (mark.column if mark else 0) + 1
        findings.add(Location(name, line, column), *_words(text, line, error))
        return None
    except yaml.reader.ReaderError as error:
        before = text[: error.position]
        at = Location(name, before.count("\n") + 1, error.position - before.rfind("\n"))
        findings.add(at, f"there is a control character here (U+{ord(text[error.position]):04X})", "delete it")
        return None
    except yaml.YAMLError as error:
        findings.add(Location(name, 1, 1), f"the file cannot be read: {error}")
        return None
    if tree.root is None:
        findings.add(Location(name, 1, 1), "the file is empty")
        return None
    tree.tell(findings)
    return tree.root


class _Tree:
    """A tree that grows event by event, so that its text is gone through once and nothing calls itself."""

    def __init__(self, name: str) -> None:
        self._name = name
        self.root: Node | None = None
        #: Lists and mappings that are not closed yet, each with the nodes in it: of a mapping key, value, key, value …
        self._open: list[tuple[Node, list[Node]]] = []
        #: Told when the file could be read to its end.
        self._wrong: list[tuple[Location, str, str]] = []

    def tell(self, findings: Findings) -> None:
        """Note what is wrong with keys, in order of writing."""
        for at, words, hint in sorted(self._wrong, key=lambda one: (one[0].line, one[0].column)):
            findings.add(at, words, hint)

    def grow(self, loader: Any, findings: Findings) -> bool:
        """Take every event of ``loader``; False after noting what is not allowed in a rule file."""
        nodes = documents = 0
        name, open_, event_of = self._name, self._open, loader.get_event
        while True:
            event = event_of()
            kind, mark = event.__class__, event.start_mark
            at = Location(name, 1, 1) if mark is None else Location(name, mark.line + 1, mark.column + 1)
            if kind is yaml.AliasEvent or getattr(event, "anchor", None):
                findings.add(at, "anchors and aliases (& and *) are not used in rule files", "write the value out")
                return False
            tag = getattr(event, "tag", None)
            if tag is not None and tag != "!":
                findings.add(at, f"the tag {tag} is not used in rule files", "leave the part after ! away")
                return False
            documents += kind is yaml.DocumentStartEvent
            nodes += 1
            depth = len(open_) + (kind is yaml.SequenceStartEvent or kind is yaml.MappingStartEvent)
            if depth > MAX_DEPTH or nodes > MAX_NODES or documents > 1:
                what = "has more than one document (---)" if documents > 1 else "is nested too deeply or too large"
                findings.add(at, f"the file {what}", "one file, one document")
                return False
            if kind is yaml.ScalarEvent:
                self._place(Node(at, text=event.value, quoted=event.style in _QUOTED))
            elif kind is yaml.SequenceStartEvent or kind is yaml.MappingStartEvent:
                open_.append((Node(at, entries={}) if kind is yaml.MappingStartEvent else Node(at), []))
            elif kind is yaml.SequenceEndEvent or kind is yaml.MappingEndEvent:
                node, inside = open_.pop()
                if node.entries is None:
                    node.items = inside
                else:
                    self._pair(node.entries, inside)
                self._place(node)
            elif kind is yaml.StreamEndEvent:
                return True

    def _place(self, node: Node) -> None:
        if self._open:
            self._open[-1][1].append(node)
        else:
            self.root = node

    def _pair(self, entries: dict[str, tuple[Node, Node]], inside: list[Node]) -> None:
        pairs = iter(inside)
        for key, value in zip(pairs, pairs, strict=True):
            if key.text is None:
                self._wrong.append((key.at, "a key must be a word", ""))
            elif key.text == "<<":
                self._wrong.append((key.at, "merge keys (<<) are not used in rule files", "write the entries out"))
            elif key.text in entries:
                first = entries[key.text][0].at
                words = f'"{key.text}" is written twice'
                self._wrong.append((key.at, words, f"the first one is in line {first.line}"))
            else:
                entries[key.text] = (key, value)


def _words(text: str, line: int, error: yaml.MarkedYAMLError) -> tuple[str, str]:
    problem = error.problem or "it is not YAML"
    lines = text.splitlines()
    written = lines[line - 1] if line <= len(lines) else ""
    if "nesting depth" in problem:
        # PyYAML from 6.0.4 on gives up before the event comes that is looked at here.
        return "the file is nested too deeply or too large", "one file, one document"
    if "\t" in written:
        return "there is a tab in this line", "indent with spaces"
    if "mapping values are not allowed" in problem:
        return "the file cannot be read here: a second \": \" in one line", 'put a text that contains ": " in quotes'
    if problem in _INDENTATION or problem.startswith("expected <block end>"):
        return "the file cannot be read here", "this line is not indented like its neighbours"
    if "expected ',' or ']'" in problem or "flow sequence" in problem:
        hint = 'write one condition per line, each after "- ", instead of [ ... ] on one line'
        return "the file cannot be read here: a bracket too many or too few", hint
    return f"the file cannot be read here: {problem}", ""
