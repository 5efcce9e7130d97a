"""All checks over one rule set, and everything that stands between it and an approval."""

from collections.abc import Callable, Iterator

from msgspec import Struct

from rules.cases import TestReport, run_tests
from rules.lint import contradictions, dates, duplicates, gaps, gates, placeholders, unused, upkeep
from rules.lint.remark import Level, Remark
from rules.rulebook import RuleBook

Check = Callable[[RuleBook], Iterator[Remark]]
#: Every check, one a module.
CHECKS: tuple[Check, ...] = (
    contradictions.check, dates.check, duplicates.check, gaps.check, gates.check, placeholders.check, unused.check,
    upkeep.check,
)  # fmt: skip

def remarks(book: RuleBook) -> tuple[Remark, ...]:
    """What every check has to say, in the order of the files."""
    found = [remark for check in CHECKS for remark in check(book)]
    return tuple(sorted(found, key=lambda r: (r.location, r.check)))


class Examination(Struct, frozen=True):
    """A rule set looked at before somebody says yes to it."""

    digest: str
    rules: int
    tests: int
    remarks: tuple[Remark, ...]
    #: Why it cannot be approved, in sentences; empty: it can.
    obstacles: tuple[str, ...]


def examine(book: RuleBook) -> Examination:
    """Lint ``book`` and run the tests inside its files."""
    found = remarks(book)
    report = run_tests(book)
    obstacles = [f"{r.location}: {r.message}" for r in found if r.level is Level.ERROR]
    obstacles += _failures(report)
    return Examination(book.digest, len(book.rules.rules), len(report.results), found, tuple(obstacles))


def _failures(report: TestReport) -> list[str]:
    failed = [f"{r.file}:{r.line}: {r.test}: {r.rule} is {r.found}, expected {r.expected}"
              for r in report.results if not r.passed]  # fmt: skip
    untested = [f"rule {rule} has no test that passes and one that does not" for rule in report.untested]
    return [*(mistake.split("\n")[0] for mistake in report.mistakes), *failed, *untested]
