"""The in-process gate: which operation of a lot may start, what a report of one says, when production is cleared. Pure.

    report → before its turn? parked → gate shut? refused → recorded → a parameter out of its limits? a deviation

An operation waits for those that it comes after: by the lot's routing, by the report itself, by the sequence in which
MES counts. While a deviation at an operation is not decided, neither that operation nor what follows it may start;
without a routing, nothing that has not been started. What may not enter: databases, clocks, HTTP.
"""

from collections.abc import Iterable

from engine import events as ev
from engine import production
from engine.builtin import fails
from engine.consequences import RoutingAssigned
from engine.inspection_plan import within
from engine.lot import Lot
from engine.operation_inspection import lacking
from engine.production import OperationRun, PlannedOperation, PlannedParameter, Routing, assign
from engine.surroundings import Surroundings
from rules.compiled import Verdict
from rules.rulebook import Judgement, RuleVerdict

#: Most words of a deviation's text.
_MOST_WORDS = 500


def run_of(lot: Lot, operation: str) -> OperationRun | None:
    """The newest report of ``operation``; None: there is none."""
    return production.run_of(lot.operations, operation)


def is_under_way(lot: Lot, operation: str) -> bool:
    """Was it started, and neither completed nor aborted?"""
    run = run_of(lot, operation)
    return run is not None and run.status == "started"


def begins(lot: Lot, data: ev.OperationReport) -> bool:
    """Does the report say that the operation began: now, or before it was completed without a word of its start?"""
    return data.status == "started" or (data.status == "completed" and not is_under_way(lot, data.operation))


def assigned(around: Surroundings, lot: Lot) -> RoutingAssigned | None:
    """The routing that fits ``lot`` best; None: there is none."""
    found = around.reference.routing_for(lot.item, lot.revision, around.day)
    return None if found is None else RoutingAssigned(assigned=assign(found[0].key, found[0].revision, found[1]))


# -- what an operation waits for ----------------------------------------------------------------------------------


def before_it(lot: Lot, operation: str, after: Iterable[str] = ()) -> tuple[str, ...]:
    """Operations that have to be completed first and are not, each once."""
    step = None if lot.routing is None else lot.routing.step(operation)
    wanted = dict.fromkeys((*(() if step is None else step.after), *after))
    done = {run.operation for run in lot.operations if run.status == "completed"}
    return tuple(name for name in wanted if name not in done and name != operation)


def waits_for(lot: Lot, data: ev.OperationReport) -> tuple[str, str] | None:
    """What a report has to wait for: the need that it is parked under, and words; None: it is its turn."""
    if not begins(lot, data):
        return None
    for name in before_it(lot, data.operation, data.after):
        words = f"Operation {data.operation} of lot {lot.id} comes after {name}, which is not completed yet"
        return f"operation:{lot.id}|{name}", words + "; the report waits for it."
    ended = max((run.sequence or 0 for run in lot.operations if run.status != "started"), default=0)
    if data.sequence is not None and ended < data.sequence - 1:
        words = f"Operation {data.operation} of lot {lot.id} is number {data.sequence}, and {data.sequence - 1} has not"
        return f"operation:{lot.id}#{data.sequence - 1}", words + " ended yet; the report waits for it."
    return None


def needs_met(lot: str, data: ev.OperationReport) -> list[str]:
    """What other reports may have waited for, and wait for no longer."""
    if data.status == "started":
        return []
    met = [] if data.sequence is None else [f"operation:{lot}#{data.sequence}"]
    return [*met, f"operation:{lot}|{data.operation}"] if data.status == "completed" else met


# -- the gate ------------------------------------------------------------------------------------------------------


def shut(lot: Lot, operation: str) -> tuple[RuleVerdict, ...]:
    """Every reason why ``operation`` may not start now, but for operations that have to come first."""
    found: list[RuleVerdict] = []
    if lot.closed is not None:
        found.append(fails("LOT-LIVES", f"lot {lot.id} is closed ({lot.closed})"))
    if lot.holds:
        found.append(fails("NO-ACTIVE-HOLD", f"hold {', '.join(h.hold for h in lot.holds)} is active; lift it first"))
    if lot.routing is not None and lot.routing.step(operation) is None:
        known = ", ".join(step.operation for step in lot.routing.steps)
        words = f"{operation} is not in the routing {lot.routing.routing}: {known}"
        found.append(fails("OPERATION-ON-ROUTING", words))
    if is_under_way(lot, operation):
        found.append(fails("OPERATION-NOT-UNDER-WAY", f"operation {operation} is under way already"))
    for record in lot.records:
        if record.keeps_shut and record.operation is not None and _concerns(lot, record.operation, operation):
            found.append(_undecided(record.record, record.operation, record.status))
    for run in lot.operations:
        if run.status == "aborted" and run.operation != operation and _concerns(lot, run.operation, operation):
            found.append(fails("NOTHING-ABORTED", f"operation {run.operation} was aborted; it has to be completed"))
        lacks = lacking(lot, run) if run.operation != operation and _concerns(lot, run.operation, operation) else None
        if lacks is not None:
            found.append(lacks)
    return tuple(found)


def _concerns(lot: Lot, cause: str, operation: str) -> bool:
    """Does what happened at ``cause`` matter to ``operation``: is it the same, or after it, or does nobody know?"""
    routing = lot.routing
    if routing is None or routing.step(cause) is None or routing.step(operation) is None:
        return True
    return cause == operation or cause in routing.above(operation)


def _undecided(record: str, operation: str, status: str) -> RuleVerdict:
    words = f"deviation {record} at operation {operation} is {status}; it has to be decided"
    return fails("DEVIATION-DECIDED", words)


def missing(lot: Lot, operation: str) -> tuple[RuleVerdict, ...]:
    """The reasons that are operations which have to come first."""
    return tuple(
        fails("OPERATIONS-BEFORE-IT", f"operation {name} has to be completed first")
        for name in before_it(lot, operation)
    )


def uncleared(lot: Lot) -> tuple[RuleVerdict, ...]:
    """Why the lot's production is not cleared: what keeps it from being released, used and shipped."""
    found = [
        _undecided(record.record, record.operation, record.status)
        for record in lot.records if record.keeps_shut and record.operation is not None
    ]  # fmt: skip
    done = {run.operation for run in lot.operations if run.status == "completed"}
    undone = [f"{run.operation} ({run.status})" for run in lot.operations if run.status != "completed"]
    reported = {run.operation for run in lot.operations}
    if lot.routing is not None:
        undone += [
            f"{step.operation} (not reported)" for step in lot.routing.steps
            if step.required and step.operation not in reported
        ]  # fmt: skip
    if undone:
        words = f"not completed: {', '.join(sorted(undone))}; completed: {', '.join(sorted(done)) or 'none'}"
        found.append(fails("OPERATIONS-COMPLETED", words))
    found += [lacks for lacks in (lacking(lot, run) for run in lot.operations) if lacks is not None]
    return tuple(found)


# -- what a report says --------------------------------------------------------------------------------------------


def guards(around: Surroundings, lot: Lot, data: ev.OperationReport) -> tuple[RuleVerdict, ...]:
    """Every built-in reason why a report is refused."""
    found = list(shut(lot, data.operation)) if begins(lot, data) else []
    if data.order is not None and lot.order is not None and data.order != lot.order:
        found.append(fails("ORDER-OF-LOT", f"lot {lot.id} is of order {lot.order}, not of {data.order}"))
    names = [one.parameter for one in data.parameters]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        found.append(fails("PARAMETER-ONCE", f"{', '.join(twice)} is reported twice"))
    if lot.routing is not None and _routing(around, lot) is None:
        words = f"the routing {lot.routing.routing} of lot {lot.id} is none of item {lot.item}"
        found.append(fails("ROUTING-KNOWN", f"{words}: nobody can say what is measured there", Verdict.UNKNOWN))
    planned = _planned(around, lot, data.operation)
    if planned is not None and data.status == "completed":
        found += _parameter_guards(planned, data)
    return tuple(found)


def _planned(around: Surroundings, lot: Lot, operation: str) -> PlannedOperation | None:
    routing = _routing(around, lot)
    return None if routing is None else next((one for one in routing.operations if one.operation == operation), None)


def _routing(around: Surroundings, lot: Lot) -> Routing | None:
    return None if lot.routing is None else around.reference.routing(lot.routing.routing, lot.routing.revision)


def _parameter_guards(planned: PlannedOperation, data: ev.OperationReport) -> list[RuleVerdict]:
    if not planned.parameters:
        return []
    known = {one.parameter: one for one in planned.parameters}
    found = []
    for measured in data.parameters:
        one = known.get(measured.parameter)
        if one is None:
            words = f"{measured.parameter} is not measured at operation {planned.operation}: {', '.join(known)}"
            found.append(fails("PARAMETER-ON-ROUTING", words))
        elif one.unit != measured.unit:
            words = f"{one.parameter} is measured in {one.unit}, not in {measured.unit}"
            found.append(fails("UNIT-OF-ROUTING", words))
    there = {measured.parameter for measured in data.parameters}
    lacking = [one.parameter for one in planned.parameters if one.required and one.parameter not in there]
    if lacking:
        words = f"operation {planned.operation} is not completed without {', '.join(lacking)}"
        found.append(fails("PARAMETERS-COMPLETE", words))
    return found


def breaches(
    around: Surroundings, lot: Lot, data: ev.OperationReport, judgement: Judgement | None
) -> tuple[str, ...]:
    """What is wrong with what was measured, in sentences: by the routing's limits, and by rules."""
    planned = _planned(around, lot, data.operation)
    limits = {} if planned is None else {one.parameter: one for one in planned.parameters}
    found = [
        _outside(data.operation, measured, limits[measured.parameter])
        for measured in data.parameters
        if measured.parameter in limits
        and not within(measured.value, limits[measured.parameter].lower, limits[measured.parameter].upper)
    ]
    if judgement is not None:
        found += [f"{verdict.message} [{verdict.rule}]" for verdict in judgement.refusing]
        if not judgement.agreed:
            found.append(judgement.disagreement or "the two rule engines do not agree")
    return tuple(found)


def _outside(operation: str, measured: ev.OperationParameter, one: PlannedParameter) -> str:
    low, high = ("any" if bound is None else f"{bound:f}" for bound in (one.lower, one.upper))
    words = f"operation {operation}: {one.parameter} = {measured.value:f} {measured.unit}"
    return f"{words}, limits {low} to {high}"


def words_of(found: tuple[str, ...]) -> str:
    """Breaches as the text of one deviation."""
    text = "; ".join(found)
    return text if len(text) <= _MOST_WORDS else text[: _MOST_WORDS - 2] + " …"


def completion_guards(lot: Lot, data: ev.Production) -> tuple[RuleVerdict, ...]:
    """Why a completion is not that of the production that was started."""
    names = ("item", "revision", "order", "plant")
    said = {name: getattr(data, name) for name in names} | {"unit": data.quantity.unit}
    began = {name: getattr(lot, name) for name in (*names, "unit")}
    return tuple(
        fails("COMPLETES-WHAT-BEGAN", f"{name} is {said[name]}; production began with {began[name]}")
        for name in said if said[name] != began[name] and not (name == "plant" and said[name] is None)
    )  # fmt: skip

