"""A rule set in force: loaded whole from a directory or not at all, named by the digest of its files.

``judge`` is the reference evaluator; rules/judge.py puts the second engine beside it.
"""

import gc
import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

from msgspec import Struct

from rules import reference
from rules.check import Checker, RuleFile
from rules.compiled import Facts, Rule, RuleSet, Severity, Type, Verdict, kinds_of
from rules.explain import RuleExplanation, explain_rule, message_of, told
from rules.facts import Vocabulary, read_vocabulary
from rules.findings import Finding, Findings, Location, RulePackError
from rules.parse import Node, parse, read_text
from rules.world import world_of

#: The vocabulary lies beside the packs, or in the shipped ones.
VOCABULARY_FILE = "vocabulary.yaml"
SUFFIXES = (".yaml", ".yml", ".csv")
SHIPPED = Path(__file__).resolve().parent / "packs"


class RuleVerdict(Struct, frozen=True):
    """One rule's verdict on one lot. ``message`` is empty for a pass."""

    rule: str
    verdict: Verdict
    severity: Severity
    message: str
    file: str
    line: int
    on_fail: str | None


class Case(Struct, frozen=True):
    """A question to the rules: may this lot pass this gate today (an ordinal)?"""

    gate: str
    facts: Facts
    today: int


class Judgement(Struct):
    """The answer: the verdict of every rule that is effective and applicable."""

    gate: str
    rule_set: str
    verdicts: tuple[RuleVerdict, ...]
    #: Engines that judged.
    engines: tuple[str, ...]
    #: False when the engines differ, or the second could not be asked: the gate stays shut.
    agreed: bool = True
    disagreement: str | None = None

    @property
    def refusing(self) -> tuple[RuleVerdict, ...]:
        """Verdicts that keep the gate shut."""
        return tuple(
            [
                v
                for v in self.verdicts
                if v.verdict is not Verdict.PASS and (v.severity is Severity.BLOCK or v.severity is Severity.HOLD)
            ]
        )

    @property
    def opens(self) -> bool:
        """True when nothing keeps the gate shut."""
        return self.agreed and not self.refusing


class Reaction(Struct, frozen=True):
    """Something the engine is told to do by itself."""

    id: str
    do: str
    #: What people are told, with the lot's values in it.
    message: str = ""
    #: Of change_sampling: normal, tightened, reduced.
    to: str = ""


class RuleBook:
    """The rules in force."""

    def __init__(self, rules: RuleSet, vocabulary: Vocabulary, digest: str, sources: dict[str, str]) -> None:
        self.rules = rules
        self.vocabulary = vocabulary
        #: ``sha256:<hex>`` over the names and contents of the files.
        self.digest = digest
        #: File name -> text, as loaded.
        self.sources = sources
        #: Kinds of fact that the rules look at.
        self.kinds = kinds_of(rules)
        self._gates = reference.index_gates(rules)
        self._gate_names = frozenset(self._gates)
        self._bound = {(gate, b.rule.id): b for gate, index in self._gates.items() for b in index.all}
        self._types = _types(vocabulary, rules)
        self._passes = [_pass(rule) for rule in rules.rules]
        self._reactions = [
            (r, [reference.check_of(requirement, rules.tables) for requirement in r.when]) for r in rules.reactions
        ]

    @classmethod
    def load(cls, directory: Path) -> "RuleBook":
        """The rule files below ``directory``. Raises RulePackError with every mistake of every file."""
        return cls.from_sources(read_sources(directory))

    @classmethod
    def from_sources(cls, sources: dict[str, str]) -> "RuleBook":
        """The rule set whose files are ``sources`` (name -> text), its vocabulary among them. Raises RulePackError."""
        with undisturbed():
            findings = Findings()
            trees = _trees(sources, findings)
            words = trees.pop(VOCABULARY_FILE, None)
            vocabulary = read_vocabulary(words, findings) if words is not None else {}
            files = [RuleFile(name, root) for name, root in trees.items() if root is not None]
            if not files and not findings.all:
                findings.add(Location(".", 1, 1), "there is no rule file here", "a rule file ends in .yaml")
            rules = Checker(vocabulary, sources, findings).rule_set(files)
            findings.raise_if_any()
            return cls(rules, vocabulary, digest_of(sources), sources)

    @cached_property
    def files(self) -> list[RuleFile]:
        """The files' trees, read again: for the tests in them and for lint. Who judges never needs them."""
        with undisturbed():
            trees = _trees(self.sources, Findings())
            return [RuleFile(n, root) for n, root in trees.items() if root is not None and n != VOCABULARY_FILE]

    def gates(self) -> frozenset[str]:
        """Gates that at least one rule guards."""
        return self._gate_names

    def judge(self, case: Case) -> Judgement:
        """The reference evaluator's judgement."""
        verdicts, _ = self.verdicts(case)
        return Judgement(case.gate, self.digest, verdicts, ("reference",))

    def verdicts(self, case: Case) -> tuple[tuple[RuleVerdict, ...], list[int]]:
        """The verdicts, and the numbers of the rules that fail: what a second engine must name too."""
        index = self._gates.get(case.gate)
        if index is None:
            return (), []
        world = world_of(case.facts, self.rules.singles, case.today)
        found: list[RuleVerdict] = []
        failing: list[int] = []
        for bound in index.for_lot(world.one["lot"]):
            judged = bound.judge(world)
            verdict = judged.verdict
            if verdict is Verdict.PASS:
                found.append(self._passes[bound.number])
            elif verdict is Verdict.FAIL or verdict is Verdict.UNKNOWN:
                rule = bound.rule
                message = message_of(rule, judged, world, self._types)
                found.append(
                    RuleVerdict(rule.id, verdict, rule.severity, message, rule.location.file, rule.location.line,
                                rule.on_fail)
                )  # fmt: skip
                if verdict is Verdict.FAIL:
                    failing.append(bound.number)
        return tuple(found), failing

    def explain(self, case: Case, rule: str | None = None) -> tuple[RuleExplanation, ...]:
        """Every rule of the gate, or one of them, with every condition and its values."""
        index = self._gates.get(case.gate)
        if index is None:
            return ()
        world = world_of(case.facts, self.rules.singles, case.today)
        asked = index.all if rule is None else [self._bound[case.gate, rule]]
        return tuple(explain_rule(bound.rule, bound.judge(world), world, self.rules, self._types) for bound in asked)

    def reactions(self, after: str, facts: Facts, today: int) -> tuple[Reaction, ...]:
        """Reactions to a lot that came into the state ``after``, whose ``when`` holds."""
        world = world_of(facts, self.rules.singles, today)
        found = []
        for rule, checks in self._reactions:
            in_force = (rule.effective_from or 0) <= today and (rule.effective_to is None or today <= rule.effective_to)
            if rule.after == after and in_force and all(check(world).truth is True for check in checks):
                found.append(Reaction(rule.id, rule.do, told(rule.message, world, self._types), rule.to))
        return tuple(found)


@contextmanager
def undisturbed() -> Iterator[None]:
    """No garbage collection meanwhile: it would go over the growing rules again and again, and they have no cycles."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _trees(sources: Mapping[str, str], findings: Findings) -> dict[str, Node | None]:
    return {name: parse(text, name, findings) for name, text in sources.items() if not name.endswith(".csv")}


def read_sources(directory: Path) -> dict[str, str]:
    """The rule files below ``directory``, name -> text, the vocabulary among them; nothing of them is understood yet.

    Raises RulePackError with every file that cannot be read.
    """
    findings = Findings()
    if not directory.is_dir():
        raise RulePackError([Finding(Location(str(directory), 1, 1), "there is no such directory of rule files")])
    sources: dict[str, str] = {}
    for path in sorted(p for p in directory.rglob("*") if p.suffix in SUFFIXES and p.is_file()):
        name = path.relative_to(directory).as_posix()
        text = read_text(path, name, findings)
        if text is not None:
            sources[name] = text
    if VOCABULARY_FILE not in sources:
        text = read_text(SHIPPED / VOCABULARY_FILE, VOCABULARY_FILE, findings)
        sources |= {} if text is None else {VOCABULARY_FILE: text}
    findings.raise_if_any()
    return sources


def digest_of(sources: dict[str, str]) -> str:
    """The name of a rule set: SHA-256 over its files' names and texts, in order of name."""
    hashed = hashlib.sha256()
    for name in sorted(sources):
        text = sources[name].encode()
        hashed.update(f"{name}\n{len(text)}\n".encode() + text)
    return "sha256:" + hashed.hexdigest()


def _pass(rule: Rule) -> RuleVerdict:
    return RuleVerdict(
        rule.id, Verdict.PASS, rule.severity, "", rule.location.file, rule.location.line, rule.on_fail
    )


def _types(vocabulary: Vocabulary, rules: RuleSet) -> dict[str, dict[str, Type]]:
    types = {name: {f.name: f.type for f in kind.fields.values()} for name, kind in vocabulary.items()}
    for name, table in rules.tables.items():
        types[f"table {name}"] = dict(table.types)
    return types

