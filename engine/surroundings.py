"""What a decision knows besides its lot: the day, the rules in force, and what the store says around the lot."""

from collections.abc import Mapping

from msgspec import Struct

from engine.gather import Fact, Facts, gather
from engine.lot import Lot
from engine.tracks import KINDS, Track, pair_of, track_facts
from rules.rulebook import RuleBook


class Surroundings(Struct):
    """What a course knows besides its lot."""

    #: Instant of the decision, as text.
    now: str
    #: Ordinal of the plant's calendar day.
    today: int
    rulebook: RuleBook
    #: Targets whose acknowledgement of the lot's present status is outstanding, by lot.
    undelivered: Mapping[str, tuple[str, ...]] = {}
    #: What was counted, by item and supplier (engine/track_record.py); only where rules look at it.
    tracks: Mapping[str, Track] = {}

    def facts(self, lot: Lot, event: Fact | None, results: list[Fact]) -> Facts:
        """Everything that rules may look at."""
        more: Facts = {}
        kinds = KINDS & self.rulebook.kinds
        if kinds:
            track = self.tracks.get(pair_of(lot.item, lot.supplier), Track())
            more |= track_facts(track, lot, results, kinds)
        return gather(lot, event, results, self.today, self.rulebook.vocabulary, more)
