"""Skip-lot sampling: lots of a supplier that has earned it go to stock without inspection, chosen by chance. Pure.

The states are those of ISO 2859-3 and ANSI/ASQ S1: lot-by-lot inspection (State 1), skip-lot inspection (State 2),
skip-lot interrupted (State 3). The standards' text was not at hand. The numbers of :class:`Scheme` are therefore
parameters of every plan, points and all; their defaults (a score of 50 within 20 lots, 1 in 2 to 1 in 5, 5 points and
3) are declared here and were compared with no printed copy. Public sources were found for: the states and the order of
the clauses (contents of GB/T 2828.3-2008, identical with ISO 2859-3:2005), AQLs of at least 0.025 percent (ASQ, Ask
the Experts), lots chosen strictly at random, under normal inspection, and an end of skipping where tightened
inspection begins (7 CFR 42.120 to 42.123, a scheme of 1 in 2 and 1 in 4).
"""

import enum
import hashlib
import hmac
from datetime import datetime
from typing import Annotated

from msgspec import Meta, Struct
from msgspec.structs import replace

#: Rarest and most frequent inspection while lots are skipped: one lot in so many.
RAREST, MOST_FREQUENT = 5, 2
#: Accept numbers of the tables, each one step of the AQL tighter than the next.
_LADDER = (0, 1, 2, 3, 5, 7, 10, 14, 21)

Lots = Annotated[int, Meta(ge=1, le=1000)]
Points = Annotated[int, Meta(ge=0, le=100)]


class State(enum.Enum):
    """Where an item from a supplier stands."""

    LOT_BY_LOT = "lot_by_lot"
    SKIP_LOT = "skip_lot"
    INTERRUPTED = "interrupted"


class Scheme(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """How skipping is earned and lost; a plan may say other numbers."""

    #: Qualification score that has to be reached, and lots within which.
    score: Lots = 50
    lots: Lots = 20
    #: First frequency: 1 in 4 when the score took up to this many lots, 1 in 3 up to that many, else 1 in 2.
    one_in_four: Lots = 11
    one_in_three: Lots = 14
    #: Points of an accepted lot: it would be accepted with the AQL two steps tighter; with one step.
    two_steps: Points = 5
    one_step: Points = 3
    #: Where no AQL is tighter: of accept number 0; of accept number 1 with one nonconforming unit.
    zero: Points = 3
    one_found: Points = 1
    #: Lots in a row that are accepted while skipping is interrupted, and take it up again.
    requalify: Lots = 4
    #: Days without a lot after which skipping is lost.
    idle_days: Lots = 61


class SkipState(Struct, frozen=True):
    """Where an item from a supplier stands; a new one is inspected lot by lot."""

    state: State = State.LOT_BY_LOT
    #: While lots are skipped, or skipping is interrupted: one in so many is inspected.
    frequency: int = 0
    #: Points since the count began, and lots that it took.
    score: int = 0
    lots: int = 0
    #: Accepted in a row since skipping was interrupted.
    good: int = 0
    #: Instant of the newest lot, inspected or skipped.
    last: str | None = None


def points_of(accept: int, nonconforming: int, scheme: Scheme) -> int | None:
    """Points of a lot that was accepted with ``nonconforming`` units; None: the count begins anew.

    A lot that would be accepted with no tighter AQL begins anew, but for accept numbers 0 and 1, which have none.
    """
    if accept == 0:
        return scheme.zero
    if accept == 1:
        return scheme.two_steps if nonconforming == 0 else scheme.one_found
    step = next((n for n, number in enumerate(_LADDER) if number >= accept), len(_LADDER) - 1)
    if nonconforming <= _LADDER[max(0, step - 2)]:
        return scheme.two_steps
    return scheme.one_step if nonconforming <= _LADDER[max(0, step - 1)] else None


def standing(state: SkipState, scheme: Scheme, now: str) -> SkipState:
    """``state`` on the day of ``now``: what was earned is lost when no lot came for too long."""
    if state.last is None or _days(state.last, now) <= scheme.idle_days:
        return state
    return SkipState(last=state.last)


def inspected(
    state: SkipState, scheme: Scheme, now: str, *, accepted: bool, points: int | None, ordinary: bool
) -> SkipState:
    """After a lot that was inspected originally. ``ordinary``: inspection is normal or reduced, neither tightened nor
    discontinued; where it is not, nothing is skipped."""
    before = replace(standing(state, scheme, now), last=now)
    if not ordinary:
        return SkipState(last=now)
    if before.state is State.INTERRUPTED:
        return _while_interrupted(before, scheme, accepted)
    if not accepted:
        if before.state is State.SKIP_LOT:
            return replace(before, state=State.INTERRUPTED, score=0, lots=0, good=0)
        return SkipState(last=now)
    if points is None:
        return replace(before, score=0, lots=0)
    counted = replace(before, score=before.score + points, lots=before.lots + 1)
    if counted.score >= scheme.score and counted.lots <= scheme.lots:
        return _qualified(counted, scheme)
    return replace(counted, score=0, lots=0) if counted.lots >= scheme.lots else counted


def skipped(state: SkipState, now: str) -> SkipState:
    """After a lot that went to stock without inspection: it says nothing, but there was one."""
    return replace(state, last=now)


def _while_interrupted(before: SkipState, scheme: Scheme, accepted: bool) -> SkipState:
    if not accepted:
        return SkipState(last=before.last)
    good = before.good + 1
    if good < scheme.requalify:
        return replace(before, good=good)
    frequency = max(MOST_FREQUENT, before.frequency - 1)
    return SkipState(State.SKIP_LOT, frequency, last=before.last)


def _qualified(counted: SkipState, scheme: Scheme) -> SkipState:
    """The first frequency, or the next rarer one."""
    if counted.state is State.SKIP_LOT:
        return SkipState(State.SKIP_LOT, min(RAREST, counted.frequency + 1), last=counted.last)
    first = 4 if counted.lots <= scheme.one_in_four else 3 if counted.lots <= scheme.one_in_three else 2
    return SkipState(State.SKIP_LOT, first, last=counted.last)


def draw(secret: bytes, *names: str) -> float:
    """A number from 0 to 1, below 1, that nobody foresees who does not know ``secret``, and that is always the same
    for the same ``names`` (HMAC-SHA256, 53 bits)."""
    message = b"".join(len(name.encode()).to_bytes(4, "big") + name.encode() for name in names)
    digest = hmac.new(secret, message, hashlib.sha256).digest()
    return (int.from_bytes(digest[:8], "big") >> 11) / (1 << 53)


def is_skipped(state: SkipState, drawn: float) -> bool:
    """Does the lot that drew ``drawn`` go to stock without inspection? One in ``frequency`` is inspected."""
    return state.state is State.SKIP_LOT and drawn >= 1 / state.frequency


def problem_of(scheme: Scheme) -> str | None:
    """What is wrong with a scheme, as a sentence."""
    if scheme.one_in_four > scheme.one_in_three or scheme.one_in_three > scheme.lots:
        return "one_in_four is at most one_in_three, and that at most lots"
    most = max(scheme.two_steps, scheme.one_step, scheme.zero, scheme.one_found)
    if scheme.score > most * scheme.lots:
        return f"a score of {scheme.score} cannot be reached within {scheme.lots} lots, with {most} points a lot"
    return None


def _days(since: str, now: str) -> float:
    return (datetime.fromisoformat(now) - datetime.fromisoformat(since)).total_seconds() / 86_400
