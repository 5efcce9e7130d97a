"""The journal judged again by a candidate rule set. Reads only; writes nothing."""

from collections.abc import Callable
from datetime import date, tzinfo

from engine.decide import MUST_BE_GUARDED
from engine.history import PastDecision, decisions
from engine.store.opening import Store
from rules.backtest import Backtest, Past, Report, day_in_force, in_force_on
from rules.rulebook import RuleBook


def backtest(
    store: Store,
    timezone: tzinfo,
    candidate: RuleBook,
    today: date,
    *,
    against: RuleBook | None = None,
    since: str | None = None,
    until: str | None = None,
    as_of: date | None = None,
    progress: Callable[[int], None] | None = None,
) -> Report:
    """Judge every decision between two instants again.

    ``against``: compare with what this set says, not with what was recorded. ``as_of``: the day on which the
    candidate's effective dates are looked at; else the first day from ``today`` on which all of its rules have
    begun. ``progress`` is called with the journal position that was reached.
    """
    day = as_of.toordinal() if as_of is not None else day_in_force(candidate, today.toordinal())
    book, left_out = in_force_on(candidate, day)
    run = Backtest(book, against, needed=MUST_BE_GUARDED, left_out=left_out, as_of=date.fromordinal(day).isoformat())
    for chunk in decisions(store, timezone, since, until):
        for decision in chunk:
            run.add(past_of(decision))
        if progress is not None:
            progress(chunk[-1].position)
    return run.report()


def past_of(decision: PastDecision) -> Past:
    """A decision as the backtest wants it."""
    return Past(
        decision.lot, decision.version, decision.recorded_at, decision.case, decision.verdicts, decision.agreed,
        decision.fact,
    )  # fmt: skip
