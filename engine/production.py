"""What a lot goes through in production: its routing, and what MES reported of its operations. Structs, pure.

A routing is reference data (engine/reference.py): the operations of an item, what each of them comes after, the
parameters that are measured there with their specification limits. It is assigned to a lot when its production starts,
so what is in work keeps its routing whatever is loaded later. Names after ISA-95 / B2MML V0700 (operations definition,
segment dependency, parameter). What may not enter: which operation may start (engine/in_process.py).
"""

from collections.abc import Iterable
from decimal import Decimal
from typing import Annotated, Literal

from msgspec import Meta, Struct
from msgspec.structs import replace

from engine import events as ev

#: Operations of one routing, and parameters of one operation.
MAX_OPERATIONS = 200
MAX_PARAMETERS = 100
#: How long a report waits for the one before it until somebody is told, where the routing does not say: an hour.
GAP_SECONDS = 3600


class PlannedParameter(ev.Closed, frozen=True):
    """What is measured at an operation."""

    parameter: ev.Code
    unit: Annotated[str, Meta(min_length=1, max_length=16)]
    #: Specification limits, both included; left out: none on that side.
    lower: Decimal | None = None
    upper: Decimal | None = None
    #: False: the operation may be completed without it.
    required: bool = True


class PlannedOperation(ev.Closed, frozen=True):
    """One operation of a routing."""

    operation: ev.Code
    #: Operations that have to be completed before; left out: the one before it in the list; empty: none.
    after: Annotated[list[ev.Code], Meta(max_length=MAX_OPERATIONS)] | None = None
    #: False: the lot may be finished without it.
    required: bool = True
    parameters: Annotated[list[PlannedParameter], Meta(max_length=MAX_PARAMETERS)] = []


class Routing(ev.Closed, frozen=True):
    """The operations by which lots of an item are made, in their order."""

    item: ev.Code
    operations: Annotated[list[PlannedOperation], Meta(min_length=1, max_length=MAX_OPERATIONS)]
    #: Only of this revision of the item; left out: of all.
    revision: ev.Code | None = None
    #: How long a report may wait for the operation before it until somebody is told.
    wait_seconds: Annotated[int, Meta(ge=1, le=604_800)] = GAP_SECONDS


class RoutingStep(Struct, frozen=True, omit_defaults=True):
    """An operation as the lot knows it."""

    operation: str
    after: tuple[str, ...] = ()
    required: bool = True


class AssignedRouting(Struct, frozen=True, omit_defaults=True):
    """The routing of a lot, as it was when its production started."""

    #: Key and revision in the reference data.
    routing: str
    revision: int
    steps: tuple[RoutingStep, ...]
    wait_seconds: int = GAP_SECONDS

    def step(self, operation: str) -> RoutingStep | None:
        """The step of that number; None: the routing has none."""
        return next((step for step in self.steps if step.operation == operation), None)

    def above(self, operation: str) -> frozenset[str]:
        """Every operation that comes before ``operation``, directly or not."""
        found: set[str] = set()
        wanted = [operation]
        while wanted:
            step = self.step(wanted.pop())
            if step is not None:
                wanted += [name for name in step.after if name not in found]
                found.update(step.after)
        return frozenset(found)


class MeasuredParameter(Struct, frozen=True):
    """A parameter as it was measured."""

    parameter: str
    value: Decimal
    unit: str


class OperationRun(Struct, frozen=True, omit_defaults=True):
    """The newest report of one operation of the lot."""

    operation: str
    status: Literal["started", "completed", "aborted"]
    #: Journal version and instant of the report.
    version: int
    at: str
    #: How often it was begun.
    run: int = 1
    #: Its place in the lot's course, where MES counts them.
    sequence: int | None = None
    parameters: tuple[MeasuredParameter, ...] = ()


class Looked(Struct, frozen=True, omit_defaults=True):
    """What was looked at of one characteristic at an operation."""

    characteristic: str
    #: Units to look at, where the plan says them of it; None: the pieces of the operation.
    wanted: int | None = None
    required: bool = True
    #: Units that were looked at, and of them those that do not conform.
    inspected: int = 0
    nonconforming: int = 0


class ResultsOf(Struct, frozen=True):
    """Results that an ancestor recorded before this lot was split off: from after one journal version up to another."""

    lot: str
    after: int
    upto: int


class OperationInspection(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The inspection in process of one operation of a lot (engine/operation_inspection.py)."""

    operation: str
    #: Key and revision of the plan in the reference data, as they were when the operation began first.
    plan: str
    revision: int
    #: Results of this lot count from after this journal version on; each run of the operation begins anew.
    after: int
    #: Instants at which the run began, and at which it was completed.
    began_at: str
    ended_at: str | None = None
    #: Pieces to look at, and one for every so many minutes besides.
    pieces: int = 0
    every_minutes: int | None = None
    #: Journal version of the newest record of results; 0: none.
    results_version: int = 0
    #: What ancestors recorded of it.
    before: tuple[ResultsOf, ...] = ()
    looked: tuple[Looked, ...] = ()


def problem_of(routing: Routing) -> tuple[str, str] | None:
    """What is wrong with a routing, as a JSON pointer and a sentence; None: nothing."""
    seen: set[str] = set()
    for number, one in enumerate(routing.operations):
        at = f"/operations/{number}"
        if one.operation in seen:
            return f"{at}/operation", f"{one.operation} is in the routing twice"
        for before in one.after or ():
            if before not in seen:
                return f"{at}/after", f"{one.operation} comes after {before}, which is not in front of it"
        seen.add(one.operation)
        problem = _parameter_problem(one)
        if problem is not None:
            return at + problem[0], f"{one.operation}: {problem[1]}"
    return None


def _parameter_problem(operation: PlannedOperation) -> tuple[str, str] | None:
    names: set[str] = set()
    for number, one in enumerate(operation.parameters):
        at = f"/parameters/{number}"
        if one.parameter in names:
            return f"{at}/parameter", f"{one.parameter} is measured twice"
        if one.lower is not None and one.upper is not None and one.lower > one.upper:
            return f"{at}/lower", f"the lower limit {one.lower} is above the upper limit {one.upper}"
        names.add(one.parameter)
    return None


def assign(key: str, revision: int, routing: Routing) -> AssignedRouting:
    """``routing`` for a lot, with what each operation comes after spelt out."""
    steps: list[RoutingStep] = []
    for one in routing.operations:
        before = tuple(one.after) if one.after is not None else tuple(s.operation for s in steps[-1:])
        steps.append(RoutingStep(one.operation, before, one.required))
    return AssignedRouting(key, revision, tuple(steps), routing.wait_seconds)


def reported(
    runs: tuple[OperationRun, ...], data: ev.OperationReport, version: int, at: str
) -> tuple[OperationRun, ...]:
    """The runs after a report: it takes the place of the earlier one of its operation, of those of all parts."""
    before = next((run for run in runs if run.operation == data.operation), None)
    number = 1 if before is None else before.run if before.status == "started" else before.run + 1
    sequence = data.sequence if data.sequence is not None or before is None else before.sequence
    parameters = tuple(MeasuredParameter(p.parameter, p.value, p.unit) for p in data.parameters)
    run = OperationRun(data.operation, data.status, version, at, number, sequence, parameters)
    return (*(one for one in runs if one.operation != data.operation), run)


def together(lots: Iterable[tuple[OperationRun, ...]]) -> tuple[OperationRun, ...]:
    """The runs of lots that are put together: each that measured something else, begun as often as any of them."""
    every = [run for runs in lots for run in runs]
    often: dict[str, int] = {}
    for run in every:
        often[run.operation] = max(run.run, often.get(run.operation, 0))
    found: dict[tuple[str, str, tuple[MeasuredParameter, ...]], OperationRun] = {}
    for run in every:
        found.setdefault((run.operation, run.status, run.parameters), replace(run, run=often[run.operation]))
    return tuple(found.values())


def run_of(runs: Iterable[OperationRun], operation: str) -> OperationRun | None:
    """The newest report of ``operation``, with what was measured in every part; None: there is none."""
    found = [run for run in runs if run.operation == operation]
    if len(found) < 2:
        return next(iter(found), None)
    return replace(found[0], parameters=tuple(dict.fromkeys(one for run in found for one in run.parameters)))


# -- what rules see ----------------------------------------------------------------------------------------------

_SCALE = 1_000_000
Fact = dict[str, int | str | bool]


def charted(operation: str, parameter: str) -> str:
    """The name under which a parameter has its control chart, such as ``0030/temperature``."""
    return f"{operation}/{parameter}"


def operation_facts(runs: tuple[OperationRun, ...]) -> dict[str, list[Fact]]:
    """One fact an operation, and one a parameter that was measured: in a lot of several, each value that is in any."""
    operations = dict.fromkeys((run.operation, run.status, run.run) for run in runs)
    measured = dict.fromkeys(
        (run.operation, one.parameter, int(one.value * _SCALE), one.unit) for run in runs for one in run.parameters
    )
    found: dict[str, list[Fact]] = {
        "operation": [{"number": name, "status": status, "run": run * _SCALE} for name, status, run in operations]
    }
    if measured:
        names = ("operation", "parameter", "value", "unit")
        found["parameter"] = [dict(zip(names, one, strict=True)) for one in measured]
    return found


def charted_facts(run: OperationRun) -> list[Fact]:
    """What was measured at ``run``, as results are for control charts."""
    return [
        {"characteristic": charted(run.operation, one.parameter), "value": int(one.value * _SCALE)}
        for one in run.parameters
    ]
