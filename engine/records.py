"""Records that hang on a lot: its plan and sample, signatures, nonconformances, deviations, corrective actions. Pure.

A quality record has a life of its own, run by ``transitions`` as the lot's is: opened, contained, investigated,
decided, closed. How much of it is needed goes by its severity. A signature is bound to the journal up to the version
that was signed (its hash), and stands until something changes what was inspected.
"""

from decimal import Decimal
from functools import lru_cache
from typing import Any, Literal

from msgspec import Struct
from msgspec.structs import replace
from transitions import Machine

from engine import events as ev
from engine.quality.skip_lot import Scheme

#: Kinds of quality records, in the words of events and of rules.
Kind = Literal["nonconformance", "deviation", "corrective_action"]
KINDS: tuple[str, ...] = ("nonconformance", "deviation", "corrective_action")
#: Kinds of fact that come from here.
FACTS = frozenset({*KINDS, "signature"})
#: Steps after which what was signed is not what is there any more: signatures before them are void.
VOIDS = frozenset({
    "record_inspection", "inspect_operation", "change_plan", "rework", "repair", "reinspect", "retest_due", "return",
})  # fmt: skip
_SCALE = 1_000_000
STATUSES = ("open", "contained", "investigated", "decided", "closed", "cancelled")
_UNDER_WAY = ("open", "contained", "investigated", "decided")
#: Step -> states it leads from, state it leads to.
STEPS: dict[str, tuple[tuple[str, ...], str]] = {
    "contain": (("open",), "contained"),
    "investigate": (("open", "contained"), "investigated"),
    "decide": (("investigated",), "decided"),
    "close": (_UNDER_WAY, "closed"),
    "cancel": (_UNDER_WAY, "cancelled"),
    "reopen": (("closed", "cancelled"), "open"),
}
#: Where a deviation stands that keeps no operation waiting.
_OPENS_GATES = ("decided", "closed", "cancelled")
#: What has to be decided before a record of this severity may be closed.
_CLOSED_FROM = {"minor": _UNDER_WAY, "major": ("decided",), "critical": ("decided",)}


class AssignedVariables(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The sample of a characteristic that is inspected by variables (engine/by_variables.py)."""

    characteristic: str
    sample_size: int
    #: Code letter of Z1.9.
    letter: str
    #: The known standard deviation of the process; None: it is estimated.
    sigma: Decimal | None = None
    #: Largest percent that may be estimated beyond each limit; the larger one for both together. Both None: the whole
    #: lot is inspected, unit by unit.
    m_lower: Decimal | None = None
    m_upper: Decimal | None = None
    #: Standard deviations that mean and limit have to be apart: what M says of one limit.
    k_lower: Decimal | None = None
    k_upper: Decimal | None = None

    @property
    def estimates(self) -> bool:
        """False: the lot is not larger than its sample."""
        return self.m_lower is not None or self.m_upper is not None


class VariablesOutcome(Struct, frozen=True, kw_only=True):
    """What the measured values of a characteristic say of the lot."""

    characteristic: str
    mean: Decimal
    #: Standard deviation: of the sample, or the known one.
    deviation: Decimal
    #: Percent estimated beyond the limits together, and the largest that is accepted.
    percent: Decimal
    allowed: Decimal
    accepted: bool


class SkipDecision(Struct, frozen=True, kw_only=True):
    """Whether a lot that came in goes to stock without inspection (engine/quality/skip_lot.py)."""

    #: lot_by_lot, skip_lot, interrupted
    state: str
    #: One lot in so many is inspected; 0: every one.
    frequency: int
    #: What chance said for this lot, from 0 to 1; it is inspected below 1 / frequency.
    drawn: Decimal
    skipped: bool


class SkipResult(Struct, frozen=True, omit_defaults=True):
    """What an inspected lot counts for skip-lot sampling."""

    #: Points for the qualification score; None: the count begins anew.
    points: int | None = None
    scheme: Scheme = Scheme()


class AssignedPlan(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The inspection plan of a lot, and the sample that is taken of it (engine/inspection_plan.py)."""

    plan: str
    #: Revision of the plan in the reference data.
    revision: int
    #: Units of the sample; None: each characteristic of the plan says its own.
    sample_size: int | None = None
    #: Accept and reject number: nonconforming units up to which, and from which on.
    accept: int = 0
    reject: int = 1
    #: normal, tightened, reduced; None: the plan is not from the tables.
    severity: str | None = None
    #: Code letter of the tables.
    letter: str | None = None
    #: The outcome counts for the supplier's switching between severities.
    switching: bool = False
    #: Acceptance by sampling is discontinued: every unit is inspected.
    discontinued: bool = False
    #: Characteristics that are inspected by variables.
    variables: tuple[AssignedVariables, ...] = ()
    #: Whether the lot is skipped; None: the plan skips none.
    skip: SkipDecision | None = None
    #: Why it is inspected as hard as it is, for people.
    why: str = ""


class SampleOutcome(Struct, frozen=True, omit_defaults=True):
    """What a complete inspection by plan says of the lot."""

    nonconforming: int
    accepted: bool
    #: Accepted although more than the accept number were found (reduced inspection): normal inspection comes back.
    back_to_normal: bool = False
    switching: bool = False
    #: Characteristics that were inspected by variables; each has to be accepted, too.
    variables: tuple[VariablesOutcome, ...] = ()
    #: What it counts for skip-lot sampling; None: the plan skips none.
    skip: SkipResult | None = None


class Signature(Struct, frozen=True, omit_defaults=True):
    """Somebody signed the lot as it was at ``version``: who, when, what for."""

    signer: str
    #: What the signature means: ``release``, ``review``, ``reject``, or another word of the plant.
    meaning: str
    #: Journal version that was signed, and the hash of that entry: of everything up to it.
    version: int
    digest: str
    signed_at: str
    text: str = ""
    #: In which of the signer's roles.
    role: str | None = None
    #: The quality record whose decision was signed.
    record: str | None = None


class BoardSignature(Struct, frozen=True):
    """A role of the material review board has signed the decision of a record."""

    role: str
    signer: str
    signed_at: str


class QualityRecord(Struct, frozen=True, omit_defaults=True):
    """A nonconformance, a deviation or a corrective action of the lot."""

    #: Its number: unique in the lot.
    record: str
    kind: str
    severity: str
    #: open, contained, investigated, decided, closed, cancelled
    status: str
    text: str
    opened_at: str
    #: Who has to do it, and by when.
    owner: str | None = None
    due_on: str | None = None
    cause: str = ""
    decision: str = ""
    closed_at: str | None = None
    #: Of a deviation in production: at this operation. Those that follow it wait until it is decided.
    operation: str | None = None
    #: Of a nonconformance: how much of the lot does not conform, in its unit; None: all of it.
    quantity: Decimal | None = None
    #: What was decided of how much.
    dispositions: tuple[ev.Disposed, ...] = ()
    #: The material review board: roles that have to sign the decision, and those that have.
    board: tuple[str, ...] = ()
    signed: tuple[BoardSignature, ...] = ()

    @property
    def keeps_shut(self) -> bool:
        """Does it keep the gates shut of what follows its operation?"""
        undecided = self.status not in _OPENS_GATES or (self.status == "decided" and bool(self.unsigned))
        return self.kind == "deviation" and self.operation is not None and undecided

    @property
    def unsigned(self) -> tuple[str, ...]:
        """Roles of the board that have not signed yet."""
        return tuple(role for role in self.board if role not in {one.role for one in self.signed})

    @property
    def undecided(self) -> str:
        """Why its decision does not stand; empty: it does."""
        if self.status not in ("decided", "closed"):
            return f"{self.record} is {self.status}, not decided"
        lacking = ", ".join(self.unsigned)
        return f"the decision of {self.record} has to be signed by {lacking}" if lacking else ""


class _Position(Struct):
    """The plain model that the machine moves."""

    state: str


_machine = Machine(
    model=None,
    states=list(STATUSES),
    transitions=[{"trigger": step, "source": list(sources), "dest": to} for step, (sources, to) in STEPS.items()],
    initial="open",
    auto_transitions=False,
    ignore_invalid_triggers=True,
)


@lru_cache(maxsize=1024)
def next_status(status: str, step: str, severity: str) -> str | None:
    """Where ``step`` leads; None: it is not possible for a record of this severity in this status."""
    if step == "close" and status not in _CLOSED_FROM[severity]:
        return None
    position = _Position(status)
    moved = _machine.events[step].trigger(position)
    return position.state if moved else None


def opened(data: ev.RecordOpening, at: str) -> QualityRecord:
    """A record as somebody opened it."""
    due = None if data.due_on is None else data.due_on.isoformat()
    return QualityRecord(
        data.record, data.kind, data.severity, "open", data.text, at, data.owner, due, operation=data.operation,
        quantity=None if data.quantity is None else data.quantity.value,
    )  # fmt: skip


def changed(record: QualityRecord, data: ev.RecordStep, at: str) -> QualityRecord:
    """``record`` after a step that its guard let in."""
    severity = data.severity or record.severity
    status = next_status(record.status, data.step, severity)
    if status is None:
        raise AssertionError(f"{data.step} does not lead on from {record.status}")
    changes: dict[str, Any] = {"status": status, "severity": severity}
    if data.step == "investigate":
        changes["cause"] = data.text
    if data.step == "decide":
        changes |= {"decision": data.text, "dispositions": tuple(data.dispositions), "board": tuple(data.board)}
    if data.step in ("decide", "reopen"):
        changes["signed"] = ()
    if data.owner is not None:
        changes["owner"] = data.owner
    if data.due_on is not None:
        changes["due_on"] = data.due_on.isoformat()
    changes["closed_at"] = at if status in ("closed", "cancelled") else None
    return replace(record, **changes)


def by_board(record: QualityRecord, data: ev.Signing, at: str) -> QualityRecord:
    """``record`` after a role of its board has signed."""
    if data.record != record.record or data.role is None:
        return record
    return replace(record, signed=(*record.signed, BoardSignature(data.role, data.signer, at)))


def concession_of(
    records: tuple[QualityRecord, ...], record: str | None, decision: str, said: ev.Concession | None
) -> ev.Concession | None:
    """The concession by which something is used: its own, or that of the decision that is carried out."""
    if decision != "use_as_is" or said is not None or record is None:
        return said
    decided = next((one.dispositions for one in records if one.record == record), ())
    return next((one.concession for one in decided if one.decision == "use_as_is" and one.concession), None)


def without_decision(record: QualityRecord) -> QualityRecord:
    """``record`` as a part of the lot carries it on: what was decided of quantities was decided of the whole."""
    return replace(record, quantity=None, dispositions=())


def record_facts(records: tuple[QualityRecord, ...], today: str) -> dict[str, list[dict[str, int | str | bool]]]:
    """One fact a record, by kind; cancelled ones are none."""
    found: dict[str, list[dict[str, int | str | bool]]] = {}
    for one in records:
        if one.status == "cancelled":
            continue
        fact: dict[str, int | str | bool] = {
            "number": one.record, "severity": one.severity, "status": one.status,
            "overdue": one.status != "closed" and one.due_on is not None and one.due_on < today,
        }  # fmt: skip
        if one.kind == "nonconformance":
            fact |= {"board": bool(one.board), "signed": bool(one.board) and not one.unsigned}
        if one.owner is not None:
            fact["owner"] = one.owner
        if one.operation is not None:
            fact["operation"] = one.operation
        found.setdefault(one.kind, []).append(fact)
    return found


def signature_facts(
    signatures: tuple[Signature, ...], inspectors: tuple[str, ...]
) -> list[dict[str, int | str | bool]]:
    """One fact a signature that stands; ``inspected``: the signer recorded results of the lot."""
    found: list[dict[str, int | str | bool]] = []
    for one in signatures:
        fact: dict[str, int | str | bool] = {
            "signer": one.signer, "meaning": one.meaning, "version": one.version * _SCALE,
            "inspected": one.signer in inspectors,
        }  # fmt: skip
        if one.role is not None:
            fact["role"] = one.role
        found.append(fact)
    return found
