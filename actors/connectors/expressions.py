"""Expressions of connector files: the Common Expression Language (CEL, cel.dev), and text with ``${expression}`` in it.

CEL has no loops, no side effects and no way out; names and functions are checked when a file is loaded. What may not
enter: calls.
"""

import base64
import functools
import math
import re
import uuid
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from msgspec import Struct, json

from actors.connectors.template import quoted

Names = Mapping[str, Any]
#: An expression is longer only by mistake.
MAX_CHARACTERS = 2000
#: Names of a keyed answer in its own namespace: UUIDs of version 5 from texts (RFC 9562, 5.5).
_NAMESPACE = uuid.UUID("6f1d3c52-4f0f-5f0e-9a58-6c6f74676174")
#: What of CEL's own functions there is.
STANDARD = frozenset((
    "size", "contains", "startsWith", "endsWith", "matches", "int", "uint", "double", "string", "bytes", "type",
    "timestamp", "duration", "has", "all", "exists", "exists_one", "map", "filter", "getFullYear",
    "getMonth", "getDate", "getDayOfMonth", "getHours", "getMinutes", "getSeconds",
))  # fmt: skip
_BY_ELEMENT = re.compile(r"\.\s*(?:all|exists_one|exists|map|filter)\s*\(\s*([A-Za-z_]\w*)\s*,")
_LITERAL = re.compile(r"'(?:\\.|[^'\\])*'|\"(?:\\.|[^\"\\])*\"")
_SECRET = re.compile(r"(?<![\w.])secret\s*\.\s*([A-Za-z_]\w*)")
_ANY_SECRET = re.compile(r"(?<![\w.])secret\b")
_WORD = re.compile(r"[A-Za-z_]\w*\Z")


class ExpressionFailed(Exception):
    """An expression met values that it was not made for; the message says which expression and why."""


class Expression:
    """One compiled expression; thread-safe."""

    def __init__(self, text: str) -> None:
        """Raises ValueError, in words, for what is no expression."""
        self.text = text.strip()
        if not self.text or len(text) > MAX_CHARACTERS:
            raise ValueError(f"an expression has 1 to {MAX_CHARACTERS} characters")
        # Imported here: it brings a command line of its own, and most connector files have no expression.
        import cel

        try:
            self._program = cel.compile(self.text)
        except ValueError as error:
            raise ValueError(f"{self.text!r} is no expression: {_first_line(str(error))}") from None
        bare = _LITERAL.sub("''", self.text)
        if len(_ANY_SECRET.findall(bare)) != len(_SECRET.findall(bare)):
            raise ValueError(f"{self.text!r} is no expression: a secret is named as secret.NAME")
        own = set(_BY_ELEMENT.findall(bare))
        left = _outside(bare)
        #: Names that somebody has to give; functions that it calls.
        self.names = frozenset(n for n in self._program.variables() if n not in own or _uses(left, n))
        self.functions = frozenset(name for name in self._program.functions() if _WORD.match(name))
        #: Members of ``secret`` that it names.
        self.secrets = frozenset(_SECRET.findall(bare))

    def __call__(self, names: Names) -> Any:
        """Its value. Raises ExpressionFailed."""
        try:
            # What it does not use is not given: every value is copied for it.
            given = {name: names[name] for name in self.names if name in names}
            return self._program.execute({**given, **FUNCTIONS})
        except Exception as error:
            # The library raises what fits: KeyError for a member that is not there, TypeError, RuntimeError …
            words = f"has no {error}" if isinstance(error, KeyError) else _first_line(str(error))
            raise ExpressionFailed(f"{self.text}: {words}") from None

    def unknown(self, names: frozenset[str]) -> Iterator[str]:
        """What it uses that there is not, in words."""
        for name in sorted(self.names - names):
            yield f"{name} is not known; known: {', '.join(sorted(names)) or 'nothing'}"
        for name in sorted(self.functions - STANDARD - set(FUNCTIONS)):
            yield f"there is no function {name}; there are {', '.join(sorted({*FUNCTIONS, *STANDARD}))}"


class _Text(Struct, frozen=True):
    """Text with expressions between its parts: always one part more than expressions."""

    parts: list[str]
    inner: list[Expression]

    def value(self, names: Names) -> Any:
        if len(self.inner) == 1 and not any(self.parts):
            return self.inner[0](names)
        return self.filled(lambda expression: shown(expression(names)))

    def filled(self, fill: Callable[[Expression], str]) -> str:
        """The text, with what ``fill`` gives for each expression."""
        found = [self.parts[0]]
        for expression, part in zip(self.inner, self.parts[1:], strict=True):
            found += [fill(expression), part]
        return "".join(found)


@functools.lru_cache(4096)
def compiled(text: str) -> Expression:
    """The expression ``text``. Raises ValueError, in words."""
    return Expression(text)


@functools.lru_cache(4096)
def template(text: str) -> _Text:
    """The text with ``${…}`` in it. Raises ValueError, in words, also for a ``${`` that is not closed."""
    parts, inner, at = list[str](), list[Expression](), 0
    while (begin := text.find("${", at)) >= 0:
        end = _end(text, begin + 2)
        parts.append(text[at:begin])
        inner.append(Expression(text[begin + 2 : end]))
        at = end + 1
    return _Text([*parts, text[at:]], inner)


def _end(text: str, at: int) -> int:
    """Where the ``}`` stands that closes the ``${`` before ``at``; braces and quotes inside are the expression's."""
    depth, begin = 0, at
    while at < len(text):
        literal = _LITERAL.match(text, at)
        if literal is not None:
            at = literal.end()
            continue
        if text[at] == "}" and not depth:
            return at
        depth += {"{": 1, "}": -1}.get(text[at], 0)
        at += 1
    raise ValueError(f"a ${{ is not closed: ${{{text[begin : begin + 40]}")


def render(value: Any, names: Names) -> Any:
    """``value``, any JSON, with every ``${expression}`` replaced; a string that is nothing else keeps the value's type.

    Raises ExpressionFailed.
    """
    if isinstance(value, dict):
        return {str(render(name, names)): render(inner, names) for name, inner in value.items()}
    if isinstance(value, list):
        return [render(inner, names) for inner in value]
    return template(value).value(names) if isinstance(value, str) and "${" in value else value


def render_path(text: str, query: Mapping[str, Any], names: Names) -> str:
    """A path and its query, percent-encoded; a list in the query stands several times, null not at all.

    Raises ExpressionFailed, also for null in a path and for a part of it that is empty: that is another address.
    """

    def part(expression: Expression) -> str:
        value = expression(names)
        if value is None:
            raise ExpressionFailed(f"{expression.text} is null, in an address")
        return quoted(shown(value))

    path = template(text).filled(part)
    if ("//" in path and "//" not in text) or (path.endswith("/") and not text.endswith("/")):
        raise ExpressionFailed(f"{text} has an empty part: {path}")
    pairs = list[str]()
    for name, inner in query.items():
        value = render(inner, names)
        for one in value if isinstance(value, list) else [] if value is None else [value]:
            pairs.append(f"{quote(name, safe='$')}={quote(shown(one), safe='')}")
    return path if not pairs else f"{path}{'&' if '?' in path else '?'}{'&'.join(pairs)}"


def draft(value: Any, names: Names) -> Any:
    """``value`` with what is known of it filled in, for people; what is not known yet stands as it is written."""
    if isinstance(value, dict):
        return {name: draft(inner, names) for name, inner in value.items()}
    if isinstance(value, list):
        return [draft(inner, names) for inner in value]
    try:
        return render(value, names)
    except ExpressionFailed:
        return value


def draft_path(text: str, query: Mapping[str, Any], names: Names) -> str:
    """A path and its query, as :func:`draft` has them."""

    def known(expression: Expression) -> str:
        try:
            return quoted(shown(expression(names)))
        except ExpressionFailed:
            return f"${{{expression.text}}}"

    path = template(text).filled(known)
    pairs = [f"{n}={template(v).filled(known) if isinstance(v, str) else v}" for n, v in query.items()]
    return f"{path}{'?' if pairs else ''}{'&'.join(pairs)}"


def expressions_in(value: Any) -> Iterator[Expression]:
    """Every expression of a template. Raises ValueError, in words."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from template(name).inner
            yield from expressions_in(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from expressions_in(inner)
    elif isinstance(value, str):
        yield from template(value).inner


def shown(value: Any) -> str:
    """A value as text: numbers without a needless ``.0``, true and false in small letters."""
    if isinstance(value, str):
        return value
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return str(int(value))
    return json.encode(value).decode()


def _outside(bare: str) -> str:
    """``bare`` without what belongs to names of elements: ``rows.map(r, r.id)`` as ``rows.map( , .id)``."""
    for found in reversed([*_BY_ELEMENT.finditer(bare)]):
        begin, depth = found.start(1), 0
        for end in range(begin, len(bare)):
            depth += {"(": 1, ")": -1}.get(bare[end], 0)
            if depth < 0:
                break
        inside = re.sub(rf"(?<![\w.]){found[1]}\b", " ", bare[begin:end])
        bare = bare[:begin] + inside + bare[end:]
    return bare


def _uses(text: str, name: str) -> bool:
    return re.search(rf"(?<![\w.]){name}\b", text) is not None


def _first_line(words: str) -> str:
    return words.strip().splitlines()[0].partition("ERROR: ")[2] or words.strip().splitlines()[0]


# -- functions of ours: none raises, null comes for what they cannot do -----------------------------------------------


def _first(values: Any) -> Any:
    return values[0] if isinstance(values, list) and values else None


def _pairs(values: Any) -> dict[str, float | None]:
    """``[[word, quantity], …]`` as word -> sum; null where one of its quantities is no number."""
    found: dict[str, float | None] = {}
    for pair in values if isinstance(values, list) else [values]:
        word, quantity = pair if isinstance(pair, list) and len(pair) == 2 else (pair, None)
        more, before = _number(quantity), found.get(shown(word), 0.0)
        found[shown(word)] = None if more is None or before is None else before + more
    return found


def _number(value: Any) -> float | None:
    if isinstance(value, bool):
        return None
    try:
        found = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return found if math.isfinite(found) else None


def _sum(values: Any) -> float | None:
    numbers = [_number(value) for value in values] if isinstance(values, list) else [None]
    return sum(number for number in numbers if number is not None) if None not in numbers else None


def _b64json(value: Any) -> str:
    return base64.urlsafe_b64encode(json.encode(value)).decode()


def _odata(value: Any) -> str:
    """As it stands between the quotes of an OData literal (OData 2.0, Primitive types): quotes doubled."""
    return shown(value).replace("'", "''")


def _guid(value: Any) -> str:
    return uuid.uuid5(_NAMESPACE, shown(value)).hex.upper()


def _milliseconds(value: Any) -> int | None:
    try:
        moment = datetime.fromisoformat(shown(value))
    except ValueError:
        return None
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)


#: What expressions may call beside CEL's own.
FUNCTIONS: dict[str, Callable[..., Any]] = {
    "first": _first,
    "pairs": _pairs,
    "number": _number,
    "sum": _sum,
    "json": lambda value: json.encode(value).decode(),
    "b64json": _b64json,
    "odata": _odata,
    "guid": _guid,
    "milliseconds": _milliseconds,
}
