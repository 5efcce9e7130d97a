"""What production makes follow: the routing of a lot, inspections of its operations, deviations at them.

What an operation waits for is in engine/in_process.py, what is looked at in engine/operation_inspection.py. What may
not enter: deciding whether something may be (engine/course.py), databases, clocks.
"""

from collections.abc import Mapping

import msgspec

from engine import events as ev
from engine import in_process, operation_inspection
from engine.consequences import RECORDS, Opened, OperationInspected
from engine.gather import Fact, result_facts, with_results
from engine.lot import Lot
from engine.making import Making
from engine.submission import Submission
from engine.surroundings import Surroundings
from rules.rulebook import Judgement, RuleVerdict

_encode = msgspec.json.Encoder().encode


class Producing(Making):
    """A chronicle of one submission that may be about production."""

    __slots__ = ("operation_results",)

    def __init__(self, submission: Submission, lots: Mapping[str, Lot], around: Surroundings) -> None:
        super().__init__(submission, lots, around)
        #: Result facts of the inspection in process that the event is about.
        self.operation_results: list[Fact] = []

    def assign_routing(self) -> None:
        """Production goes by the routing that fits; what was started keeps the one that it has."""
        lot = self.lot
        routing = None if lot is None or lot.routing is not None else in_process.assigned(self.around, lot)
        if routing is not None:
            self.consequence("assign_routing", None, routing)

    def plan_inspection(self, operation: str) -> None:
        """The operation that has just begun is inspected by its plan, where it has one."""
        lot, around = self.lot, self.around
        if lot is None:
            return
        begun = operation_inspection.begun(around.reference, lot, operation, around.day, around.now)
        if begun is not None:
            self.consequence("plan_operation_inspection", None, OperationInspected(inspection=begun))

    def open_breaches(self, before: Lot, report: ev.OperationReport, judgement: Judgement | None) -> None:
        """A deviation at the operation of a report, where what was measured is not as it should be."""
        found = in_process.breaches(self.around, before, report, judgement)
        self._open_deviation(before, report.operation, found)

    def results_fail(self, lot: Lot, data: ev.Inspection) -> tuple[RuleVerdict, ...]:
        """Every reason why results in process are refused."""
        around = self.around
        return operation_inspection.guards(around.reference, lot, data, self.operation_results, around.now)

    def judge_results(self, before: Lot, data: ev.Inspection) -> None:
        """What all results of the operation say now, and a deviation for those that do not conform."""
        around, name = self.around, data.operation or ""
        one = operation_inspection.inspection_of(before, name)
        if one is None:
            raise AssertionError("results were let in of an operation without a plan")
        self.operation_results = with_results(self.operation_results, data.inspection, data.measurements)
        said = operation_inspection.judged(
            around.reference, one, self.operation_results, before.version + 1, around.now
        )
        self.consequence("judge_operation_inspection", None, OperationInspected(inspection=said))
        plan = around.reference.plan(one.plan, one.revision)
        self._open_deviation(before, name, operation_inspection.breaches(plan, data))

    def result_lines(self) -> list[Fact]:
        """The results in process at hand, for rules."""
        event = self.submission.event
        if not isinstance(event, ev.InspectionRecorded) or event.data.operation is None:
            return []
        found = result_facts(event.data.inspection, event.data.measurements)
        return [line | {"operation": event.data.operation} for line in found]

    def _open_deviation(self, before: Lot, operation: str, found: tuple[str, ...]) -> None:
        if not found:
            return
        type_, kind = RECORDS["open_deviation"]
        lot = self.lots[before.id]
        text = in_process.words_of(found)
        data = Opened(f"{kind}/{operation}@{lot.version}"[:64], "in-process", text, operation)
        self.append(lot.id, "consequence", "open_record", type_, lot.state, data, _encode(data).decode(), None)
        self.tasks.append((kind, lot.id, text))
