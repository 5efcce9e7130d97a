"""Switching between normal, tightened and reduced inspection, lot by lot: ANSI/ASQ Z1.4-2003, section 8.3.

Normal to tightened: 2 of 5 or fewer consecutive lots not accepted on original inspection. Tightened to normal: 5 in a
row accepted. Discontinue: 5 lots not accepted while tightened. Normal to reduced: 10 in a row accepted on normal
inspection, production steady, and the responsible authority agrees (the limit numbers of table VIII are optional in
this edition and not used). Reduced to normal: a lot is not accepted, or is between Ac and Re, or production is
irregular.
"""

from msgspec import Struct
from msgspec.structs import replace

from engine.quality.sampling import Plan, Severity

#: Lots of section 8.3.
WINDOW, REJECTS, RECOVER, DISCONTINUE, EARN = 5, 2, 5, 5, 10


class SwitchingState(Struct, frozen=True):
    """Where inspection of one item from one supplier stands. A new one begins on normal inspection."""

    severity: Severity = Severity.NORMAL
    #: The last lots under this severity, oldest first, at most ``EARN``: True for accepted.
    recent: tuple[bool, ...] = ()
    #: Lots not accepted since tightened inspection began.
    rejected: int = 0
    #: Nothing is accepted on samples until the supplier has put it right.
    discontinued: bool = False


class Judged(Struct, frozen=True):
    """What the inspection of one lot says."""

    accepted: bool
    #: Accepted although more than the accept number were found (reduced inspection): back to normal.
    back_to_normal: bool


def judge(plan: Plan, nonconforming: int) -> Judged:
    """Accept up to Ac, do not accept from Re on; between them accept, and go back to normal inspection."""
    if not 0 <= nonconforming <= plan.sample_size:
        raise ValueError("the nonconforming units are part of the sample")
    return Judged(nonconforming < plan.reject, nonconforming > plan.accept)


def after(state: SwitchingState, judged: Judged, *, steady: bool = True, reduce: bool = True) -> SwitchingState:
    """The state for the next lot, after one that was inspected originally (resubmitted lots do not count).

    ``steady``: production is at a steady rate. ``reduce``: the responsible authority agrees to reduced inspection.
    """
    if state.discontinued:
        return state
    if state.severity is Severity.REDUCED:
        if not judged.accepted or judged.back_to_normal or not steady:
            return SwitchingState()
        return state
    recent = (*state.recent, judged.accepted)[-EARN:]
    if state.severity is Severity.TIGHTENED:
        rejected = state.rejected + (not judged.accepted)
        if len(recent) >= RECOVER and all(recent[-RECOVER:]):
            return SwitchingState()
        return replace(state, recent=recent, rejected=rejected, discontinued=rejected >= DISCONTINUE)
    if recent[-WINDOW:].count(False) >= REJECTS:
        return SwitchingState(Severity.TIGHTENED)
    if len(recent) == EARN and all(recent) and steady and reduce:
        return SwitchingState(Severity.REDUCED)
    return replace(state, recent=recent)


def resumed() -> SwitchingState:
    """After discontinuation, when the supplier has put it right: tightened inspection."""
    return SwitchingState(Severity.TIGHTENED)


def switched(before: SwitchingState, after: SwitchingState, lot: str) -> str:
    """Why inspection is under another severity after ``lot``, as a sentence; empty: it is not."""
    if after.discontinued and not before.discontinued:
        return f"{DISCONTINUE} lots were not accepted under tightened inspection, the last one {lot}"
    if after.severity is before.severity:
        return ""
    if after.severity is Severity.TIGHTENED:
        return f"{REJECTS} of {WINDOW} or fewer lots in a row were not accepted, the last one {lot}"
    if after.severity is Severity.REDUCED:
        return f"{EARN} lots in a row were accepted, the last one {lot}"
    if before.severity is Severity.TIGHTENED:
        return f"{RECOVER} lots in a row were accepted under tightened inspection, the last one {lot}"
    return f"under reduced inspection {lot} was not accepted, or with more than its accept number"
