"""Templates inside connector files, and where in the file something stands. No language: names and nothing else."""

import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

import yaml
from msgspec import Struct

from engine.effects import StockStatus

#: Names of a status that a template may use, beside ``key`` and ``target_stock``.
STATUS = (*StockStatus.__struct_fields__,)
_NAME = re.compile(r"\$\{([^}]*)\}")
_STEP = re.compile(r"\[(\d+)\]|\.?([^.\[\]]+)")


def fill(template: Any, known: Mapping[str, Any], escape: bool = False) -> Any:
    """``template`` with every ``${name}`` replaced; ``escape`` percent-encodes for a path."""
    if isinstance(template, dict):
        return {name: fill(inner, known) for name, inner in template.items()}
    if isinstance(template, list):
        return [fill(inner, known) for inner in template]
    if not isinstance(template, str):
        return template
    whole = _NAME.fullmatch(template)
    if whole is not None and not escape:
        return known[whole[1].strip()]

    def text(match: re.Match[str]) -> str:
        value = str(known[match[1].strip()])
        return quoted(value) if escape else value

    return _NAME.sub(text, template)


def quoted(value: str) -> str:
    """Percent-encoded for a path, dots too where nothing else is: ``..`` would lead out of it."""
    return quote(value, safe="") if value.strip(".") else value.replace(".", "%2E")


def names_in(template: Any) -> Iterator[str | None]:
    """Every name that ``template`` uses; None for a ``${`` that is not closed."""
    if isinstance(template, dict):
        template = list(template.values())
    if isinstance(template, list):
        for inner in template:
            yield from names_in(inner)
    elif isinstance(template, str):
        for found in _NAME.finditer(template):
            yield found[1].strip()
        if "${" in _NAME.sub("", template):
            yield None


class Place(Struct, frozen=True):
    """A place in a file, counted from 1."""

    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.line}:{self.column}"


def place_of(node: yaml.Node, path: str) -> Place:
    """Where ``path`` (``deliver.headers.Accept``, ``$.classify[0].outcome``) stands, or the nearest thing around it."""
    for step in _STEP.finditer(path.removeprefix("$")):
        inner = _inner(node, step[1], step[2])
        if inner is None:
            break
        node = inner
    return _at(node)


def _inner(node: yaml.Node, index: str | None, name: str | None) -> yaml.Node | None:
    if isinstance(node, yaml.SequenceNode) and index is not None and int(index) < len(node.value):
        found: yaml.Node = node.value[int(index)]
        return found
    if isinstance(node, yaml.MappingNode) and name is not None:
        for key, value in node.value:
            if key.value == name:
                at: yaml.Node = key if isinstance(value, yaml.ScalarNode) else value
                return at
    return None


def flaws(node: yaml.Node, around: tuple[yaml.Node, ...] = ()) -> Iterator[tuple[Place, str]]:
    """What YAML itself lets pass and nobody means: a name that stands twice, something inside itself."""
    if node in around:
        yield _at(node), "it contains itself"
        return
    if isinstance(node, yaml.SequenceNode):
        for inner in node.value:
            yield from flaws(inner, (*around, node))
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if str(key.value) in seen:
                yield _at(key), f"{key.value} is there twice"
            seen.add(str(key.value))
            yield from flaws(value, (*around, node))


def _at(node: yaml.Node) -> Place:
    return Place(node.start_mark.line + 1, node.start_mark.column + 1)
