"""A rule set tried on the second rule engine before it is approved: does it run there, and do both engines agree?

What may not enter: the lint and the tests themselves (rules/lint/examination.py); here their cases are judged twice.
"""

from rules.coverage import cases_of_tests
from rules.judge import TwoChannelJudge
from rules.rulebook import RuleBook

#: Cases of one batch.
_BATCH = 256


def trial(book: RuleBook, channel: str) -> tuple[str, ...]:
    """Why ``book`` must not judge here, in sentences; none when both engines agree on every case of its tests.

    Where the second engine cannot be had at all, nothing is said against a set.
    """
    if channel != "both":
        return ()
    judge = TwoChannelJudge(book, channel=channel)
    try:
        status = judge.status()
        if status.pid is None:
            return () if "cannot be loaded" in status.problem else (f"the second rule engine: {status.problem}",)
        cases = cases_of_tests(book)
        found: list[str] = []
        for start in range(0, len(cases), _BATCH):
            for judgement in judge.judge(cases[start : start + _BATCH]):
                if not judgement.agreed:
                    found.append(f"the engines do not agree at the gate {judgement.gate}: {judgement.disagreement}")
        return tuple(dict.fromkeys(found))
    finally:
        judge.close()
