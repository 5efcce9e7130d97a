"""Results in process as one batch knows them: those stored, and those that it records. Reads through its cursor."""

from collections.abc import Iterable

import msgspec

from engine import events as ev
from engine.gather import Fact, with_results
from engine.lot import Lot
from engine.operation_inspection import OperationResult, inspection_of, sources
from engine.store import writing

_decode = msgspec.json.Decoder(list[ev.Measurement]).decode


class OperationResults:
    """Records of results in process, by lot; read when somebody asks for them."""

    def __init__(self, cursor: writing.Cursor, statements: writing.Statements) -> None:
        self._cursor = cursor
        self._statements = statements
        self._stored: dict[str, list[OperationResult]] = {}
        #: What the batch records: its rows.
        self.recorded: list[OperationResult] = []

    def add(self, records: Iterable[OperationResult]) -> None:
        """Records that the batch makes."""
        self.recorded += records

    def of(self, lot: Lot, operation: str) -> list[Fact]:
        """Results in force of the inspection of ``operation``."""
        one = inspection_of(lot, operation)
        facts: list[Fact] = []
        for source in () if one is None else sources(lot, one):
            mine = [record for record in self.recorded if record[0] == source.lot]
            for _, version, of, inspection, text in (*self._read(source.lot), *mine):
                if of == operation and source.after < version <= source.upto:
                    facts = with_results(facts, inspection, _decode(text))
        return facts

    def _read(self, lot: str) -> list[OperationResult]:
        if lot not in self._stored:
            self._stored[lot] = writing.read_operation_results(self._cursor, self._statements, [lot])
        return self._stored[lot]
