"""What a submission is answered with: the decision, or a problem (RFC 9457). Pure.

The bytes made here are stored beside the event and sent again, unchanged, to whoever sends it again.
"""

from typing import Any

import msgspec
from msgspec import Struct

from engine import decide
from engine.course import Course
from engine.lifecycle import ABSENT, allowed
from engine.routing import Routes
from engine.submission import Submission
from rules.rulebook import RuleVerdict

_encode = msgspec.json.Encoder().encode


class Answer(Struct, frozen=True, array_like=True):
    """An HTTP-shaped answer: status, body (JSON) and what the headers need."""

    status: int
    body: bytes
    #: Key of the event resource, ``/v1/events/<key>``.
    key: str
    lot: str
    #: The lot's version, for the entity tag; None where there is no lot.
    version: int | None = None
    #: True when this is the first answer given again.
    replayed: bool = False
    #: applied, refused, parked, stale, duplicate
    outcome: str = "applied"


class Identity(Struct, frozen=True):
    """Which event is answered."""

    source: str
    id: str
    type: str


class Change(Struct, frozen=True):
    """State before and after."""

    before: str
    after: str


class VerdictLine(Struct, frozen=True, omit_defaults=True):
    """One rule's verdict at one gate."""

    gate: str
    rule: str
    verdict: str
    severity: str
    message: str = ""


class Consequence(Struct, frozen=True):
    """Something that followed by itself, with its own journal entry."""

    type: str
    lot: str
    version: int
    state: str


class Told(Struct, frozen=True):
    """A delivery that was put into the ledger."""

    target: str
    lot: str
    version: int


class Decision(Struct, frozen=True):
    """The answer to an event that was applied."""

    outcome: str
    event: Identity
    lot: str
    version: int
    state: Change
    recorded_at: str
    rule_set: str
    engines: tuple[str, ...]
    verdicts: list[VerdictLine]
    consequences: list[Consequence]
    deliveries: list[Told]


class Notice(Struct, frozen=True, omit_defaults=True):
    """The answer to an event that changed nothing and is no error: parked, stale or a known business document."""

    outcome: str
    event: Identity
    lot: str
    detail: str
    recorded_at: str
    waits_for: str | None = None
    version: int | None = None


class Problem(Struct, frozen=True, omit_defaults=True):
    """Problem details (RFC 9457) of a refusal, with enough to act on."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    code: str
    lot: str
    version: int | None = None
    state: str | None = None
    allowed: list[str] | None = None
    gate: str | None = None
    rules: list[VerdictLine] = []
    correlation_id: str | None = None


#: Title per refusal code, constant as RFC 9457 asks.
TITLES: dict[str, str] = {
    "gate-failed": "The gate is shut",
    "transition-not-allowed": "This step is not possible in the lot's state",
    "lot-exists": "The lot exists already",
    "lot-closed": "The lot is closed",
    "hold-not-active": "The hold is not active",
    "fact-invalid": "The fact does not fit the vocabulary",
    "event-id-reused": "The event id was used for other content",
    "precondition-failed": "The lot has changed since it was read",
    "internal-error": "Something went wrong inside Lotgate",
}


def lines(gate: str, verdicts: tuple[RuleVerdict, ...]) -> list[VerdictLine]:
    """Verdicts as an answer shows them; what passed needs no message."""
    return [
        VerdictLine(gate, v.rule, v.verdict.value, v.severity.value, "" if v.verdict.value == "pass" else v.message)
        for v in verdicts
    ]


def identity(submission: Submission) -> Identity:
    """The event's identity."""
    event = submission.event
    return Identity(event.source, event.id, str(event.__struct_config__.tag))


def answer_of(course: Course, routes: Routes) -> Answer:
    """The answer to a course that has run."""
    if course.refusal is not None:
        return _refused(course, course.refusal)
    if course.early is not None:
        early = course.early
        return notice(course.submission, "parked", 202, early.detail, course.around.now, waits_for=early.waits_for)
    if course.unchanged is not None:
        version = course.before.version if course.before else None
        same = course.unchanged
        return notice(course.submission, same.outcome, 200, same.detail, course.around.now, version=version)
    return _applied(course, routes)


def _applied(course: Course, routes: Routes) -> Answer:
    sub, lot = course.submission, course.lot
    if lot is None:
        raise AssertionError("an applied event left no lot")
    verdicts: list[VerdictLine] = []
    engines: tuple[str, ...] = ()
    for judged in course.judged:
        verdicts += lines(judged.judgement.gate, judged.judgement.verdicts)
        engines = judged.judgement.engines
    decision = Decision(
        "applied",
        identity(sub),
        lot.id,
        lot.version,
        Change(ABSENT if course.before is None else course.before.state, lot.state),
        course.around.now,
        course.around.rulebook.digest,
        engines,
        verdicts,
        [Consequence(e.type, e.lot, e.version, e.state_after) for e in course.entries if e.kind == "consequence"],
        [
            Told(target, told, status.version)
            for (told, target), status in course.telling.statuses(course.lots, routes).items()
        ],
    )
    return Answer(201, _encode(decision), sub.key, lot.id, lot.version)


def _refused(course: Course, refusal: decide.Refusal) -> Answer:
    lot = course.lot
    problem = Problem(
        type=f"/problems/{refusal.code}",
        title=TITLES[refusal.code],
        status=409,
        detail=refusal.detail,
        instance=f"/v1/events/{course.submission.key}",
        code=refusal.code,
        lot=course.submission.event.subject,
        version=None if lot is None else lot.version,
        state=None if lot is None else lot.state,
        allowed=list(allowed(ABSENT) if lot is None else allowed(lot.state, lot.in_production)),
        gate=refusal.gate,
        rules=lines(refusal.gate or course.trigger, refusal.rules),
        correlation_id=course.submission.event.correlationid,
    )
    version = None if lot is None else lot.version
    return Answer(409, _encode(problem), course.submission.key, problem.lot, version, outcome="refused")


def notice(sub: Submission, outcome: str, status: int, detail: str, now: str, **more: Any) -> Answer:
    """An answer to an event that changed nothing and is no error."""
    body = Notice(outcome, identity(sub), sub.event.subject, detail, now, **more)
    return Answer(status, _encode(body), sub.key, sub.event.subject, more.get("version"), outcome=outcome)


def problem(
    sub: Submission, code: str, status: int, detail: str, *, version: int | None = None, state: str | None = None
) -> Answer:
    """A problem that is not a decision about the lot: nothing of it is stored."""
    body = Problem(
        type=f"/problems/{code}",
        title=TITLES[code],
        status=status,
        detail=detail,
        instance=f"/v1/events/{sub.key}",
        code=code,
        lot=sub.event.subject,
        version=version,
        state=state,
        correlation_id=sub.event.correlationid,
    )
    return Answer(status, _encode(body), sub.key, sub.event.subject, version, outcome="refused")
