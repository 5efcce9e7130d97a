"""History judged again by a candidate: which decisions would change, by rule, item and supplier, with examples.

What was decided comes in as cases with the verdicts of then; what comes out is a report. What may not enter: where
the cases come from (engine/history.py), and anything that writes.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

from msgspec import Struct, structs

from rules.compiled import Rule, RuleSet, Severity, Verdict
from rules.rulebook import Case, RuleBook, RuleVerdict

#: Examples that are kept for each rule and direction.
EXAMPLES = 3
#: What a gate's judgement comes to, from the mildest to the strictest.
OPEN, HELD, SHUT, REJECTED = "open", "open, with a hold", "shut", "shut, and the lot rejected"
_BY = ("gate", "rule", "item", "supplier")
_RANK = {OPEN: 0, HELD: 1, SHUT: 2, REJECTED: 3}


class Past(Struct, frozen=True):
    """A decision of then."""

    lot: str
    version: int
    at: str
    case: Case
    verdicts: tuple[RuleVerdict, ...]
    agreed: bool
    #: A fact of the world, which a rule of severity ``hold`` does not keep out.
    fact: bool


class Example(Struct, frozen=True):
    """A decision that would have been another."""

    lot: str
    version: int
    at: str
    gate: str
    item: str
    supplier: str
    before: str
    after: str
    #: The rule that makes the difference.
    rule: str
    message: str


class Tally(Struct, frozen=True):
    """Changed decisions of one rule, item, supplier or gate."""

    name: str
    #: Would be refused or held where it was not.
    stricter: int
    #: Would be let through, or with less.
    looser: int


class Report(Struct, frozen=True):
    """What a candidate would have changed."""

    candidate: str
    #: Day on which the candidate's effective dates were looked at.
    as_of: str
    judged: int
    changed: int
    stricter: int
    looser: int
    #: The same outcome for other reasons.
    other_reasons: int
    by_gate: tuple[Tally, ...]
    by_rule: tuple[Tally, ...]
    by_item: tuple[Tally, ...]
    by_supplier: tuple[Tally, ...]
    examples: tuple[Example, ...]
    #: Rules of the candidate that are not in force on that day.
    not_in_force: tuple[str, ...]


def day_in_force(book: RuleBook, today: int) -> int:
    """The first day, from ``today`` on, on which every rule of ``book`` has begun."""
    return max([today, *(r.effective_from or 0 for r in book.rules.rules)])


def in_force_on(book: RuleBook, day: int) -> tuple[RuleBook, tuple[str, ...]]:
    """``book`` as if it had always been what it is on ``day``, and the rules that are not in force then.

    A rule that begins next month would judge nothing of the past; a backtest asks what it would have said.
    """
    kept = [r for r in book.rules.rules if _holds(r, day)]
    left = tuple(r.id for r in book.rules.rules if not _holds(r, day))
    rules = tuple(structs.replace(r, effective_from=None, effective_to=None) for r in kept)
    whole = RuleSet(rules, book.rules.reactions, book.rules.tables, book.rules.singles)
    return RuleBook(whole, book.vocabulary, book.digest, book.sources), left


def _holds(rule: Rule, day: int) -> bool:
    return (rule.effective_from or 0) <= day and (rule.effective_to is None or day <= rule.effective_to)


def outcome(verdicts: Sequence[RuleVerdict], gate: str, *, agreed: bool, fact: bool) -> str:
    """What the verdicts of one gate come to."""
    refusing = [v for v in verdicts if v.verdict is not Verdict.PASS]
    if any(v.severity is Severity.BLOCK for v in refusing):
        rejects = gate == "release" and any(v.verdict is Verdict.FAIL and v.on_fail == "block" for v in refusing)
        return REJECTED if rejects and agreed else SHUT
    if any(v.severity is Severity.HOLD for v in refusing) or not agreed:
        return HELD if fact else SHUT
    return OPEN


class Backtest:
    """Takes decisions of then one by one; gives the report at the end."""

    def __init__(
        self, candidate: RuleBook, against: RuleBook | None = None, *, needed: frozenset[str] = frozenset(),
        left_out: tuple[str, ...] = (), as_of: str = "",
    ) -> None:  # fmt: skip
        self._candidate = candidate
        #: Judge by this set what was; None: what was recorded.
        self._against = against
        #: Gates that stay shut when no rule guards them.
        self._needed = needed
        self._left_out = left_out
        self._as_of = as_of
        self._judged = 0
        self._other_reasons = 0
        #: By what, then by name and direction (True: stricter).
        self._counts: dict[str, Counter[tuple[str, bool]]] = {n: Counter() for n in _BY}
        self._directions: Counter[bool] = Counter()
        self._examples: dict[tuple[str, bool], list[Example]] = {}

    def add(self, past: Past) -> bool:
        """Judge one decision again; True when it would be another."""
        self._judged += 1
        case = past.case
        then, agreed = past.verdicts, past.agreed
        if self._against is not None:
            then, agreed = self._against.verdicts(case)[0], True
        now = self._candidate.verdicts(case)[0]
        before = outcome(then, case.gate, agreed=agreed, fact=past.fact)
        after = outcome(now, case.gate, agreed=True, fact=past.fact)
        if case.gate in self._needed and case.gate not in self._candidate.gates():
            after = SHUT
        was, is_ = _refusing(then), _refusing(now)
        if before == after:
            self._other_reasons += was.keys() != is_.keys()
            return False
        self._changed(past, before, after, was, is_)
        return True

    def _changed(
        self, past: Past, before: str, after: str, was: Mapping[str, RuleVerdict], is_: Mapping[str, RuleVerdict]
    ) -> None:
        stricter = _RANK[after] > _RANK[before]
        self._directions[stricter] += 1
        lot = past.case.facts["lot"][0]
        item, supplier = str(lot.get("item", "–")), str(lot.get("supplier", "–"))
        blamed = {r: v for r, v in (is_ if stricter else was).items() if r not in (was if stricter else is_)}
        blamed = blamed or dict(is_ if stricter else was)  # the same rule, with another weight
        for name, value in (("gate", past.case.gate), ("item", item), ("supplier", supplier)):
            self._counts[name][value, stricter] += 1
        for rule, verdict in blamed.items() or {"(no rule guards the gate)": None}.items():
            self._counts["rule"][rule, stricter] += 1
            kept = self._examples.setdefault((rule, stricter), [])
            if len(kept) < EXAMPLES:
                message = "" if verdict is None else verdict.message
                lot_of = (past.lot, past.version, past.at, past.case.gate, item, supplier)
                kept.append(Example(*lot_of, before, after, rule, message))

    def report(self) -> Report:
        """What was found so far."""
        examples = tuple(example for kept in self._examples.values() for example in kept)
        stricter, looser = self._directions[True], self._directions[False]
        return Report(
            self._candidate.digest, self._as_of, self._judged, stricter + looser, stricter, looser, self._other_reasons,
            self._tallies("gate"), self._tallies("rule"), self._tallies("item"), self._tallies("supplier"), examples,
            self._left_out,
        )  # fmt: skip

    def _tallies(self, name: str) -> tuple[Tally, ...]:
        counts = self._counts[name]
        names = {n for n, _ in counts}
        found = [Tally(n, counts[n, True], counts[n, False]) for n in names]
        return tuple(sorted(found, key=lambda t: (-(t.stricter + t.looser), t.name)))


def _refusing(verdicts: Sequence[RuleVerdict]) -> dict[str, RuleVerdict]:
    grave = (Severity.BLOCK, Severity.HOLD)
    return {v.rule: v for v in verdicts if v.verdict is not Verdict.PASS and v.severity in grave}
