"""Rule files while somebody writes them: everything that is wrong with them now, each with its place.

What may not enter: storing them, and who may (engine/rulesets.py).
"""

from collections.abc import Mapping

from msgspec import Struct

from rules.cases import run_tests
from rules.findings import RulePackError
from rules.lint.examination import remarks
from rules.lint.remark import Level, Remark, of_finding
from rules.rulebook import RuleBook


class FailedTest(Struct, frozen=True):
    """An expectation of a test that is not met."""

    file: str
    line: int
    words: str


class Draft(Struct, frozen=True):
    """What a look at files finds. Tests run only where the files can be loaded."""

    loads: bool
    remarks: tuple[Remark, ...]
    #: Expectations that are met, and those that are not.
    met: int
    failed: tuple[FailedTest, ...]
    #: Rules that lack a test that passes or one that does not.
    untested: tuple[str, ...]

    @property
    def good(self) -> bool:
        """Nothing stands between the files and an approval, as far as can be seen here."""
        errors = any(remark.level is Level.ERROR for remark in self.remarks)
        return self.loads and not errors and not self.failed and not self.untested


def look_at(files: Mapping[str, str]) -> Draft:
    """Load, lint and test ``files`` (name -> text, the vocabulary among them); nothing raises."""
    try:
        book = RuleBook.from_sources(dict(files))
    except RulePackError as error:
        return Draft(False, tuple(map(of_finding, error.findings)), 0, (), ())
    report = run_tests(book)
    failed = [
        FailedTest(r.file, r.line, f"{r.test}: {r.rule} is {r.found}, expected {r.expected}")
        for r in report.results if not r.passed
    ]  # fmt: skip
    failed += [FailedTest(*_placed(mistake)) for mistake in report.mistakes]
    met = sum(r.passed for r in report.results)
    return Draft(True, remarks(book), met, tuple(failed), report.untested)


def _placed(mistake: str) -> tuple[str, int, str]:
    """A mistake in a test, written ``file:line:column: error: words``."""
    first = mistake.split("\n")[0]
    parts = first.split(":", 3)
    if len(parts) == 4 and parts[1].isdecimal():
        return parts[0], int(parts[1]), parts[3].strip()
    return "", 1, first
