"""YAML text to a tree of texts with positions, guarded.

Scalars stay the text that was written: ``no``, ``1.10``, ``08`` and ``6,0`` mean what the vocabulary's types make of
them, not what YAML would. The text is looked at event by event before any tree is made: too deep, too large, an
anchor, an alias or a tag is refused there, for the C parser does not survive them all.
"""

from pathlib import Path

import yaml
from msgspec import Struct

from rules.findings import Findings, Location

#: A rule file larger than this is a mistake, or an attack.
MAX_BYTES = 5_000_000
MAX_DEPTH = 32
MAX_NODES = 2_000_000

_Loader: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


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
    try:
        if not _guard(text, name, findings):
            return None
        root = yaml.compose(text, _Loader)
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
    if root is None:
        findings.add(Location(name, 1, 1), "the file is empty")
        return None
    return _convert(root, name, findings)


def _guard(text: str, name: str, findings: Findings) -> bool:
    depth = documents = 0
    for nodes, event in enumerate(yaml.parse(text, _Loader)):
        mark = event.start_mark
        at = Location(name, 1, 1) if mark is None else Location(name, mark.line + 1, mark.column + 1)
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            findings.add(at, "anchors and aliases (& and *) are not used in rule files", "write the value out")
            return False
        tag = getattr(event, "tag", None)
        if tag is not None and tag != "!":
            findings.add(at, f"the tag {tag} is not used in rule files", "leave the part after ! away")
            return False
        if isinstance(event, yaml.DocumentStartEvent):
            documents += 1
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > MAX_DEPTH or nodes > MAX_NODES or documents > 1:
            what = "has more than one document (---)" if documents > 1 else "is nested too deeply or too large"
            findings.add(at, f"the file {what}", "one file, one document")
            return False
    return True


def _words(text: str, line: int, error: yaml.MarkedYAMLError) -> tuple[str, str]:
    problem = error.problem or "it is not YAML"
    lines = text.splitlines()
    written = lines[line - 1] if line <= len(lines) else ""
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


def _convert(node: yaml.Node, name: str, findings: Findings) -> Node:
    at = Location(name, node.start_mark.line + 1, node.start_mark.column + 1)
    if isinstance(node, yaml.ScalarNode):
        return Node(at, text=node.value, quoted=node.style in ("'", '"', "|", ">"))
    if isinstance(node, yaml.SequenceNode):
        return Node(at, items=[_convert(item, name, findings) for item in node.value])
    entries: dict[str, tuple[Node, Node]] = {}
    for key_node, value_node in node.value:
        key = _convert(key_node, name, findings)
        if key.text is None:
            findings.add(key.at, "a key must be a word")
            continue
        if key.text == "<<":
            findings.add(key.at, "merge keys (<<) are not used in rule files", "write the entries out")
            continue
        if key.text in entries:
            first = entries[key.text][0].at
            findings.add(key.at, f'"{key.text}" is written twice', f"the first one is in line {first.line}")
            continue
        entries[key.text] = (key, _convert(value_node, name, findings))
    return Node(at, entries=entries)
