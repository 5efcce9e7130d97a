"""Past decisions as the rules saw them: facts out of the journal, results by the versions it refers to. Reads only.

The evidence of an entry keeps every fact but the results, which it names by journal versions (engine/evidence.py); here
they are put together again, so that a decision can be explained or judged again years later.
"""

from collections.abc import Iterator, Sequence
from datetime import tzinfo

import msgspec
from msgspec import Struct
from sqlalchemy import Connection

from engine import events as ev
from engine.builtin import BUILT_IN
from engine.clock import parse_instant
from engine.consequences import decode_data
from engine.evidence import Evidence, ResultsUsed
from engine.gather import Fact, Facts, with_results
from engine.lifecycle import is_fact
from engine.store import history as sql
from engine.store.history import DecisionRow
from engine.store.opening import Store
from rules.rulebook import Case, RuleVerdict

#: Decisions that are read at a time.
CHUNK = 1_000
_decode_evidence = msgspec.json.Decoder(Evidence).decode
#: (version, inspection, measurements) of one result record.
_Record = tuple[int, str, list[ev.Measurement]]
_decode_measurements = msgspec.json.Decoder(list[ev.Measurement]).decode


class PastDecision(Struct, frozen=True):
    """A gate that was judged once, with everything it was judged by."""

    position: int
    lot: str
    version: int
    #: event, consequence or refusal
    kind: str
    trigger: str
    state: str
    rule_set: str
    recorded_at: str
    case: Case
    #: What the rules said then.
    verdicts: tuple[RuleVerdict, ...]
    #: Built-in guards that failed then.
    guards: tuple[RuleVerdict, ...]
    agreed: bool
    #: A fact of the world: it is recorded even where a rule of severity ``hold`` fails.
    fact: bool


def decisions(
    store: Store, timezone: tzinfo, since: str | None = None, until: str | None = None
) -> Iterator[list[PastDecision]]:
    """Every judged decision between two instants, oldest first, in chunks. Raises ArchiveUnavailable."""
    with store.reads.connect() as connection:
        after = 0 if since is None else sql.first_position(connection, since)
    while True:
        # A connection a chunk: a long transaction would keep SQLite's log from being folded back.
        with store.moments.connect() as connection:
            rows, last = sql.read_decisions(store, connection, after, CHUNK, since, until)
            found = _past(connection, rows, timezone)
        if found:
            yield found
        if last is None:
            return
        after = last


def extent(store: Store, since: str | None) -> tuple[int, int]:
    """The first and last position of the journal that :func:`decisions` will walk: for a progress bar."""
    with store.reads.connect() as connection:
        first = 0 if since is None else sql.first_position(connection, since)
        return first, sql.last_position(connection)


def decisions_of(store: Store, timezone: tzinfo, lot: str) -> list[PastDecision]:
    """Every judged decision about one lot, oldest first."""
    with store.moments.connect() as connection:
        return _past(connection, sql.read_decisions_of(store, connection, lot), timezone)


def _past(connection: Connection, rows: Sequence[DecisionRow], timezone: tzinfo) -> list[PastDecision]:
    evidence = [_decode_evidence(row.evidence) for row in rows]
    wanted = {e.results.lot for e in evidence if e.results is not None}
    records: dict[str, list[_Record]] = {}
    for lot, version, inspection, text in sql.read_records(connection, wanted) if wanted else ():
        records.setdefault(lot, []).append((version, inspection, _decode_measurements(text)))
    return [_decision(row, e, records, timezone) for row, e in zip(rows, evidence, strict=True)]


def _decision(
    row: DecisionRow, evidence: Evidence, records: dict[str, list[_Record]], timezone: tzinfo
) -> PastDecision:
    facts: Facts = dict(evidence.facts or {})
    if evidence.results is not None:
        facts["result"] = _results(evidence.results, row, records)
    today = parse_instant(row.recorded_at).astimezone(timezone).toordinal()
    guards = tuple(v for v in evidence.verdicts if v.file == BUILT_IN)
    verdicts = tuple(v for v in evidence.verdicts if v.file != BUILT_IN)
    return PastDecision(
        row.position, row.lot, row.version, row.kind, row.trigger, row.state_before, row.rule_set, row.recorded_at,
        Case(evidence.gate or "", facts, today), verdicts, guards, evidence.agreed,
        is_fact(row.trigger) and row.trigger != "void_shipment",
    )  # fmt: skip


def _results(used: ResultsUsed, row: DecisionRow, records: dict[str, list[_Record]]) -> list[Fact]:
    found: list[Fact] = []
    for version, inspection, measurements in records.get(used.lot, ()):
        if used.after < version <= used.upto:
            found = with_results(found, inspection, measurements)
    if row.refused_data is not None and row.refused_type is not None:
        data = decode_data(row.refused_type, row.refused_data)
        found = with_results(found, data.inspection, data.measurements)
    return found
