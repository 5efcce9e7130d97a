"""Gates that nothing guards, and words that have no effect at the gates where they stand."""

from collections.abc import Iterator

from rules.compiled import Severity
from rules.findings import Location
from rules.lint.remark import Level, Remark
from rules.rulebook import RuleBook

NAME = "gates"
#: Gates that the engine keeps shut while no rule guards them.
NEEDED = ("release", "use_as_is", "ship")


def check(book: RuleBook) -> Iterator[Remark]:
    """Unguarded gates, guards that only warn, ``on_fail`` that never happens."""
    for gate in NEEDED:
        guards = [r for r in book.rules.rules if gate in r.gates]
        first = next((f.name for f in book.files), ".")
        if not guards:
            words = f"no rule guards the gate {gate}: it stays shut for every lot"
            yield Remark(NAME, Level.WARNING, Location(first, 1, 1), words, f"write a rule with gate: [{gate}]")
        elif all(r.severity in (Severity.WARN, Severity.INFO) for r in guards):
            words = f"every rule of the gate {gate} only warns: it opens for every lot"
            yield Remark(NAME, Level.ERROR, guards[0].location, words, "one of them needs severity: block or hold")
    for rule in book.rules.rules:
        if rule.on_fail is not None and "release" not in rule.gates:
            words = f"on_fail of rule {rule.id} has no effect: it is looked at when the gate release is judged"
            yield Remark(NAME, Level.WARNING, rule.location, words, "add release to its gates, or leave on_fail away")
