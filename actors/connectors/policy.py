"""What follows when a target does not take a status: tell it again, tell others less, or have somebody look.

Part of a connector file, checked like the rest of it. A compensation never opens anything: only what was opened can be
undone, and others can only be told that a lot is in quality or blocked. What may not enter: carrying it out
(engine/compensation.py).
"""

import re
from collections.abc import Iterator
from typing import Annotated, Literal

from msgspec import Meta, Struct

#: permanent: it says never · exhausted: it failed ``limits.attempts`` times · late: ``limits.give_up_s`` have passed.
Failure = Literal["permanent", "exhausted", "late"]
#: retry: told again every quarter of an hour, and a task · escalate: a dead letter, and a task ·
#: compensate: that, and others are told less until it agrees.
Remedy = Literal["retry", "escalate", "compensate"]
#: Canonical stock statuses that open a lot.
OPENING = ("unrestricted", "restricted")
_ATTEMPTS, _HOURS = re.compile(r"given up after \d+ attempts; "), re.compile(r"given up [\d.]+ hours after ")


def exhausted_words(attempts: int, last: str) -> str:
    """Why a delivery is given up that failed ``attempts`` times."""
    return f"given up after {attempts} attempts; the last: {last}"


def late_words(seconds: float, last: str) -> str:
    """Why a delivery is given up that is ``seconds`` old."""
    return f"given up {seconds / 3600:.1f} hours after its commit; the last: {last}"


def failure_of(words: str) -> Failure:
    """The kind of failure that the last error of a given-up delivery tells of."""
    if _ATTEMPTS.match(words):
        return "exhausted"
    return "late" if _HOURS.match(words) else "permanent"


class Undo(Struct, frozen=True, forbid_unknown_fields=True):
    """When one of ``refused`` is given up, other targets are told something else."""

    #: Canonical stock statuses that this target did not take.
    refused: Annotated[list[Literal["unrestricted", "restricted"]], Meta(min_length=1)]
    #: Target -> canonical stock status that it is told until this one agrees.
    tell: Annotated[dict[str, Literal["quality", "blocked"]], Meta(min_length=1)]


class Policy(Struct, frozen=True, forbid_unknown_fields=True):
    """What follows, by kind of failure."""

    permanent: Remedy = "escalate"
    exhausted: Remedy = "escalate"
    late: Remedy = "escalate"
    #: What undoes what.
    undo: list[Undo] = []

    def remedy(self, failure: Failure) -> Remedy:
        """What follows ``failure``."""
        remedy: Remedy = getattr(self, failure)
        return remedy

    def undo_of(self, failure: Failure, stock: str) -> dict[str, str]:
        """Whom to tell what instead, when ``stock`` was given up; empty: nobody."""
        if self.remedy(failure) != "compensate":
            return {}
        found: dict[str, str] = {}
        for undo in self.undo:
            for target, tell in undo.tell.items() if stock in undo.refused else ():
                found[target] = "blocked" if "blocked" in (tell, found.get(target)) else tell
        return found


def wrong(name: str, policy: Policy) -> Iterator[tuple[str, str]]:
    """Every mistake that the types do not see: where, and what. ``name``: the target the file is for."""
    compensating = [kind for kind in ("permanent", "exhausted", "late") if getattr(policy, kind) == "compensate"]
    if compensating and not policy.undo:
        yield f"policy.{compensating[0]}", "compensate needs an undo: what others are told instead"
    if policy.undo and not compensating:
        yield "policy.undo", "is of no use: no kind of failure says compensate"
    for index, undo in enumerate(policy.undo):
        if name in undo.tell:
            yield f"policy.undo[{index}].tell.{name}", "a target cannot be told something else because it refused"


def strangers(policy: Policy, targets: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """Targets that are to be told something else and that do not exist."""
    for index, undo in enumerate(policy.undo):
        for target in undo.tell:
            if target not in targets:
                words = f"there is no target {target}; there are {', '.join(targets)}"
                yield f"policy.undo[{index}].tell.{target}", words
