"""Trees of rule files to a typed rule set: every name, type, unit and table checked, every mistake noted."""

import re
from collections.abc import Mapping

from msgspec import Struct

from rules.compiled import (
    ColumnRef,
    Condition,
    Kind,
    Lookup,
    ReactionRule,
    Requirement,
    Rule,
    RuleSet,
    Severity,
    Type,
)
from rules.conditions import Scope, TableShape, condition, lookup, reference
from rules.facts import BadValue, Vocabulary, parse_date
from rules.findings import Findings, Location, did_you_mean
from rules.parse import Node
from rules.tables import RawTable, finish, read_table
from rules.units import SCALE, NotANumber, parse_number

#: What rules can guard: the lifecycle's gates. A misspelt gate would be a rule that never judges.
GATES = (
    "receive", "quarantine", "dock_to_stock", "record_inspection", "inspect", "release", "lift_hold", "use_as_is",
    "rework", "repair", "regrade", "return_to_supplier", "scrap", "change_shelf_life", "consume", "ship", "return",
    "start_production", "start_operation", "operation", "inspect_operation",
)  # fmt: skip
STATES = ("received", "quarantined", "inspected", "released", "blocked", "shipped")
REACTIONS = (
    "release", "hold", "notify", "escalate", "open_nonconformance", "open_deviation", "open_corrective_action",
    "change_sampling",
)  # fmt: skip
#: The words that each part of a file may have; rules/schema.py makes the editors' schema of them.
FILE_KEYS = ("rulefile", "owner", "reference", "effective", "rules", "reactions", "tests")
RULE_KEYS = (
    "id", "title", "gate", "severity", "rationale", "applies_to", "require", "message", "effective", "owner",
    "reference", "on_fail",
)  # fmt: skip
REACTION_KEYS = ("id", "title", "after", "when", "do", "to", "message", "effective")
#: What ``change_sampling`` may lead to.
SAMPLING = ("normal", "tightened", "reduced", "lot_by_lot")
_FORMS = ("every", "none", "count", "any_of")
REQUIREMENT_KEYS = (*_FORMS, "where", "check", "row", "at_least", "distinct", "for_each")
_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


class RuleFile(Struct):
    """One rule file's tree, and what was read of it so far."""

    name: str
    root: Node
    owner: str = ""
    reference: str = ""
    effective: tuple[int | None, int | None] = (None, None)

    @property
    def tests(self) -> Node | None:
        """What stands below ``tests:``."""
        entry = (self.root.entries or {}).get("tests")
        return None if entry is None else entry[1]


class Checker:
    """Reads rule files against one vocabulary."""

    def __init__(self, vocabulary: Vocabulary, sources: Mapping[str, str], findings: Findings) -> None:
        self._sources = sources
        self.vocabulary = vocabulary
        self.findings = findings
        self._raw: dict[str, RawTable] = {}
        self._shapes: dict[str, TableShape] = {}
        #: Tables that could not be read: that there is no such table is not said as well.
        self._unreadable: set[str] = set()
        self._rules: list[Rule] = []
        self._reactions: list[ReactionRule] = []
        self._ids: dict[str, Location] = {}

    def rule_set(self, files: list[RuleFile]) -> RuleSet:
        """The rule set of ``files``; what is wrong with it is in ``findings``."""
        for file in files:
            self._head(file)
        for file in files:
            self._body(file)
        tables = {name: finish(raw, self.findings) for name, raw in self._raw.items()}
        singles = frozenset(name for name, kind in self.vocabulary.items() if kind.one)
        return RuleSet(tuple(self._rules), tuple(self._reactions), tables, singles)

    # -- files -------------------------------------------------------------------------------------------------

    def _head(self, file: RuleFile) -> None:
        entries = file.root.entries
        if entries is None:
            self.findings.add(file.root.at, "a rule file is a mapping: rulefile, owner, reference, rules, …")
            return
        for name, (key, body) in entries.items():
            if name.startswith("table "):
                self._table(name[6:].strip(), key, body, file)
            elif name not in FILE_KEYS:
                hint = did_you_mean(name, (*FILE_KEYS, "table NAME"))
                self.findings.add(key.at, f'"{name}" is not known in a rule file', hint)
        file.owner = self._text(entries, "owner", file.root, "a rule file")
        file.reference = self._text(entries, "reference", file.root, "a rule file")
        if "rulefile" not in entries or entries["rulefile"][1].text != "1":
            self.findings.add(file.root.at, 'a rule file begins with "rulefile: 1"')
        file.effective = self._effective(entries)

    def _table(self, name: str, key: Node, body: Node, file: RuleFile) -> None:
        if name in self._raw:
            self.findings.add(key.at, f"table {name} is written twice", f"the other one is in {self._raw[name].at}")
            return
        raw = read_table(name, key, body, self._sources, self.findings)
        if raw is None:
            self._unreadable.add(name)
        else:
            self._raw[name] = raw
            self._shapes[name] = raw.shape

    def _body(self, file: RuleFile) -> None:
        entries = file.root.entries or {}
        for name, read in (("rules", self._rule), ("reactions", self._reaction)):
            if name in entries:
                for node in self._list(entries[name][1], f'"{name}:" is a list'):
                    read(node, file)

    # -- rules -------------------------------------------------------------------------------------------------

    def _rule(self, node: Node, file: RuleFile) -> None:
        entries = self._mapping(node, "rule", RULE_KEYS)
        if entries is None:
            return
        before = len(self.findings.all)
        identity = self._identity(entries, node)
        gates = self._gates(entries, node, identity)
        severity = self._choice(entries, "severity", [s.value for s in Severity], node, f"rule {identity}")
        on_fail = self._choice(entries, "on_fail", ["block"], node, "", needed=False)
        applies = self._conditions(entries.get("applies_to"), self._scope())
        require = self._requirements(entries.get("require"), node, identity)
        rule = Rule(
            identity,
            self._text(entries, "title", node, f"rule {identity}"),
            gates,
            Severity(severity) if severity else Severity.BLOCK,
            applies,
            require,
            self._message(entries, node, identity, require),
            node.at,
            self._text(entries, "owner", node, "", file.owner),
            self._text(entries, "reference", node, "", file.reference),
            self._text(entries, "rationale", node, f"rule {identity}"),
            *(self._effective(entries) if "effective" in entries else file.effective),
            on_fail or None,
        )
        if len(self.findings.all) == before:
            self._rules.append(rule)

    def _reaction(self, node: Node, file: RuleFile) -> None:
        entries = self._mapping(node, "reaction", REACTION_KEYS)
        if entries is None:
            return
        before = len(self.findings.all)
        identity = self._identity(entries, node)
        after = self._choice(entries, "after", list(STATES), node, f"reaction {identity}")
        do = self._choice(entries, "do", list(REACTIONS), node, f"reaction {identity}")
        title = self._text(entries, "title", node, f"reaction {identity}")
        when = self._requirements(entries.get("when"), node, identity, "when") if "when" in entries else ()
        effective = self._effective(entries) if "effective" in entries else file.effective
        message = self._text(entries, "message", node, "" if do == "release" else f"reaction {identity}")
        for match in _PLACEHOLDER.finditer(message):
            self._placeholder(match[1], entries["message"][1].at, set(), [])
        to = ""
        if do == "change_sampling":
            to = self._choice(entries, "to", list(SAMPLING), node, f"reaction {identity}")
        elif "to" in entries:
            self.findings.add(entries["to"][0].at, f'reaction {identity}: "to:" is for change_sampling only')
        if len(self.findings.all) == before:
            self._reactions.append(ReactionRule(identity, title, after, do, when, node.at, *effective, message, to))

    def _identity(self, entries: dict[str, tuple[Node, Node]], node: Node) -> str:
        text = self._text(entries, "id", node, "a rule")
        at = entries["id"][1].at if "id" in entries else node.at
        if text and not _ID.fullmatch(text):
            self.findings.add(at, f'"{text}" cannot be an id', "letters, digits, . _ and -, at most 64")
        elif text in self._ids:
            first = self._ids[text]
            where = f"the other one is in {first.file} line {first.line}"
            self.findings.add(at, f"rule id {text} is used twice", where)
        elif text:
            self._ids[text] = at
        return text

    def _gates(self, entries: dict[str, tuple[Node, Node]], node: Node, identity: str) -> tuple[str, ...]:
        entry = entries.get("gate")
        if entry is None:
            self.findings.add(node.at, f'rule {identity} has no "gate:"', f"known: {', '.join(GATES)}")
            return ()
        words = entry[1].items if entry[1].items is not None else [entry[1]]
        for word in words:
            if word.text not in GATES:
                self.findings.add(word.at, f'there is no gate "{word.text}"', did_you_mean(word.text or "", GATES))
        return tuple(dict.fromkeys(word.text or "" for word in words))

    # -- requirements ------------------------------------------------------------------------------------------

    def _requirements(
        self, entry: tuple[Node, Node] | None, node: Node, identity: str, name: str = "require"
    ) -> tuple[Requirement, ...]:
        if entry is None:
            self.findings.add(node.at, f'rule {identity} has no "{name}:"')
            return ()
        found: list[Requirement] = []
        plain: list[Condition] = []
        for item in self._list(entry[1], f'"{name}:" is a list'):
            if item.text is not None:
                line = condition(item, self._scope())
                plain += [line] if line else []
            else:
                requirement = self._requirement(item)
                found += [requirement] if requirement else []
        if plain:
            found.insert(0, Requirement(Kind.CONDITIONS, plain[0].location, check=tuple(plain)))
        if not found and not self.findings.all:
            self.findings.add(entry[0].at, f'"{name}:" is empty', "a rule that requires nothing would always pass")
        return tuple(found)

    def _requirement(self, node: Node) -> Requirement | None:
        entries = node.entries or {}
        form = next((word for word in _FORMS if word in entries), None)
        known = REQUIREMENT_KEYS
        for name, (key, _) in entries.items():
            if name not in known:
                self.findings.add(key.at, f'"{name}" is not known in a requirement', did_you_mean(name, known))
                return None
        if form == "any_of":
            return self._any_of(entries["any_of"][1])
        if form is None and "check" not in entries:
            self.findings.add(node.at, "a requirement is a condition, or has every:, none:, count:, any_of: or check:")
            return None
        return self._quantified(form, entries, node)

    def _quantified(self, form: str | None, entries: dict[str, tuple[Node, Node]], node: Node) -> Requirement | None:
        subject = entries[form][1].text if form else None
        if form is not None and (subject not in self.vocabulary or self.vocabulary[subject].one):
            at, many = entries[form][1].at, [n for n, k in self.vocabulary.items() if not k.one]
            words = f'"{form}:" names a kind of which a lot has many facts'
            self.findings.add(at, words, did_you_mean(subject or "", many))
            return None
        scope = self._scope(subject)
        each = self._lookup(entries.get("for_each"), self._scope(), whole_key=False)
        row = self._lookup(entries.get("row"), scope, whole_key=True)
        if ("for_each" in entries and each is None) or ("row" in entries and row is None):
            return None  # what is said about the row's columns would only repeat it
        used = each or row
        scope.row = self._shapes[used.table] if used else None
        where = self._conditions(entries.get("where"), scope)
        check = self._conditions(entries.get("check"), scope)
        kinds = {"every": Kind.EVERY, "none": Kind.NONE, "count": Kind.COUNT, None: Kind.CONDITIONS}
        kind = kinds[form]
        if kind in (Kind.EVERY, Kind.CONDITIONS) and not check:
            if "check" in entries and entries["check"][1].items:
                return None  # each of its lines was refused already
            self.findings.add(node.at, f'"{form or "row"}:" needs "check:" with a condition')
            return None
        if kind is Kind.COUNT and "at_least" not in entries:
            self.findings.add(node.at, '"count:" needs "at_least:"')
            return None
        if kind is not Kind.COUNT and each is not None:
            self.findings.add(node.at, '"for_each:" goes with "count:"')
            return None
        distinct = self._distinct(entries.get("distinct"), scope)
        return Requirement(kind, node.at, subject, where, check, row, each, self._at_least(entries, scope), distinct)

    def _any_of(self, node: Node) -> Requirement | None:
        alternatives = []
        for item in self._list(node, '"any_of:" is a list of alternatives'):
            lines = [item] if item.text is not None else self._list(item, "an alternative is a condition or a list")
            found = [condition(line, self._scope()) for line in lines]
            alternatives.append(tuple(line for line in found if line is not None))
        if not alternatives or not all(alternatives):
            return None
        return Requirement(Kind.ANY_OF, node.at, alternatives=tuple(alternatives))

    def _lookup(self, entry: tuple[Node, Node] | None, scope: Scope, whole_key: bool) -> Lookup | None:
        return None if entry is None else lookup(entry[1], scope, whole_key)

    def _at_least(self, entries: dict[str, tuple[Node, Node]], scope: Scope) -> int | ColumnRef:
        entry = entries.get("at_least")
        if entry is None:
            return 0
        text = entry[1].text or ""
        if text.startswith("row."):
            found = reference(text, entry[1].at, scope, expected=Type.NUMBER)
            return found if isinstance(found, ColumnRef) else 0
        try:
            count, part = divmod(parse_number(text), SCALE)
        except NotANumber as error:
            self.findings.add(entry[1].at, f"at_least: {error}", error.hint)
            return 0
        if part or count < 0:
            self.findings.add(entry[1].at, f'at_least: "{text}" is not a count', "write a whole number, 0 or more")
        return count

    def _distinct(self, entry: tuple[Node, Node] | None, scope: Scope) -> str | None:
        if entry is None:
            return None
        found = reference(entry[1].text or "", entry[1].at, scope)
        return None if found is None else found.name

    def _conditions(self, entry: tuple[Node, Node] | None, scope: Scope) -> tuple[Condition, ...]:
        if entry is None:
            return ()
        found = [condition(node, scope) for node in self._list(entry[1], "conditions are a list, one a line")]
        return tuple(line for line in found if line is not None)

    def _scope(self, subject: str | None = None) -> Scope:
        return Scope(self.vocabulary, self._shapes, self.findings, subject, unreadable=frozenset(self._unreadable))

    # -- messages and small things -----------------------------------------------------------------------------

    def _message(
        self, entries: dict[str, tuple[Node, Node]], node: Node, identity: str, require: tuple[Requirement, ...]
    ) -> str:
        text = self._text(entries, "message", node, f"rule {identity}")
        if not require:
            return text  # what is wrong there would be said once more for every placeholder
        subjects = {r.subject for r in require}
        tables = [self._shapes[u.table] for r in require for u in (r.row, r.for_each) if u is not None]
        for match in _PLACEHOLDER.finditer(text):
            self._placeholder(match[1], entries["message"][1].at, subjects, tables)
        return text

    def _placeholder(self, word: str, at: Location, subjects: set[str | None], tables: list[TableShape]) -> None:
        kind, _, name = word.partition(".")
        if kind == "row" and any(name in table.columns for table in tables):
            return
        known = self.vocabulary.get(kind)
        if known is not None and name in known.fields and (known.one or kind in subjects):
            return
        near = did_you_mean(name, known.fields, f"{{{kind}.").replace('"?', '}"?') if known else ""
        hint = near.replace('"{', "{").replace('}"', "}")
        self.findings.add(at, f"the message uses {{{word}}}, which is not a field", hint)

    def _effective(self, entries: dict[str, tuple[Node, Node]]) -> tuple[int | None, int | None]:
        entry = entries.get("effective")
        if entry is None:
            return None, None
        days: list[int | None] = []
        for name in ("from", "to"):
            day = (entry[1].entries or {}).get(name)
            try:
                days.append(parse_date(day[1].text or "", f'effective "{name}"') if day else None)
            except BadValue as error:
                self.findings.add(day[1].at if day else entry[1].at, str(error), error.hint)
                days.append(None)
        for name, (key, _) in (entry[1].entries or {}).items():
            if name not in ("from", "to"):
                self.findings.add(key.at, f'"{name}" is not known in effective', did_you_mean(name, ("from", "to")))
        start, end = days
        if start is not None and end is not None and end < start:
            words = (entry[1].entries or {})["to"][1].text, (entry[1].entries or {})["from"][1].text
            self.findings.add(entry[1].at, f'effective "to" ({words[0]}) is before "from" ({words[1]})')
        return start, end

    def _mapping(self, node: Node, what: str, known: tuple[str, ...]) -> dict[str, tuple[Node, Node]] | None:
        if node.entries is None:
            self.findings.add(node.at, f"a {what} is a mapping: id, title, …")
            return None
        for name, (key, _) in node.entries.items():
            if name not in known:
                self.findings.add(key.at, f'"{name}" is not known in a {what}', did_you_mean(name, known))
        return node.entries

    def _list(self, node: Node, words: str) -> list[Node]:
        if node.items is None:
            self.findings.add(node.at, words)
            return []
        return node.items

    def _text(
        self, entries: dict[str, tuple[Node, Node]], name: str, node: Node, owner: str, default: str = ""
    ) -> str:
        entry = entries.get(name)
        if entry is not None and entry[1].text:
            return entry[1].text
        if owner:
            self.findings.add(node.at, f'{owner} has no "{name}:"')
        return default

    def _choice(
        self, entries: dict[str, tuple[Node, Node]], name: str, known: list[str], node: Node, owner: str,
        needed: bool = True,
    ) -> str:  # fmt: skip
        text = self._text(entries, name, node, owner if needed else "")
        if text and text not in known:
            self.findings.add(entries[name][1].at, f'"{text}" is not {_an(name)}', did_you_mean(text, known))
            return ""
        return text


def _an(word: str) -> str:
    return f"an {word}" if word[0] in "aeiou" else f"a {word}"
