"""Verdicts of the guards that no rule file has: the same shape as those of rules, from ``built-in``. Pure."""

from rules.compiled import Severity, Verdict
from rules.rulebook import RuleVerdict

#: Where built-in guards say they come from, in place of a rule file.
BUILT_IN = "built-in"


def fails(rule: str, message: str, verdict: Verdict = Verdict.FAIL) -> RuleVerdict:
    """The verdict of a built-in guard that fails, or that cannot tell."""
    return RuleVerdict(rule, verdict, Severity.BLOCK, message, BUILT_IN, 0, None)
