"""Patterns dealt out to networks, so that each stays far below the library's limits and a lot visits few of them.

A pattern that demands one value of a field of the lot (``applies_to: [lot.item = X]``) lies in a network that only
lots with that value visit: ten thousand rules for ten thousand items cost a lot no more than ten rules.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

from msgspec import Struct

from rules.compiled import Value
from rules.rete_patterns import Pattern

#: Patterns in one network; far below the library's limits (4,000 rules, 255 joins of a node).
PATTERNS_EACH = 120
#: Different tests of one kind of fact in one network: a fact for which 65 hold at once is an error.
PATHS_EACH = 48

Key = tuple[str, Value]


class Shard(Struct):
    """The patterns of one network, and who has to visit it."""

    number: int
    patterns: list[Pattern]
    #: Kinds of fact that its patterns look at.
    kinds: set[str]
    #: Gates of its rules.
    gates: set[str]
    #: Different tests, by kind of fact.
    paths: dict[str, set[str]]


class Shards:
    """Every shard, found by what a lot is."""

    def __init__(self, patterns: Sequence[Pattern]) -> None:
        self.all: list[Shard] = []
        self._general: list[Shard] = []
        self._by_key: dict[str, dict[Value, list[Shard]]] = {}
        whole = _Dealer(self.all)
        for pattern in patterns:
            whole.add(pattern)
        if len(self.all) <= 1:
            self._general = list(self.all)
            return
        self.all.clear()
        self._deal(patterns)

    def _deal(self, patterns: Sequence[Pattern]) -> None:
        """General patterns together, the others by their key."""
        spread = Counter(name for name, _ in {key for pattern in patterns for key in pattern.keys})
        keyed: dict[Key, list[Pattern]] = {}
        general = _Dealer(self.all)
        for pattern in patterns:
            if pattern.keys:
                # The field with the most values tells lots apart best.
                keyed.setdefault(max(pattern.keys, key=lambda key: spread[key[0]]), []).append(pattern)
            else:
                general.add(pattern)
        self._general = list(self.all)
        for (name, value), mine in keyed.items():
            # A network for each key: small, so that one that had to make room is quickly built anew.
            dealer = _Dealer(self.all)
            shards = [dealer.add(pattern) for pattern in mine]
            unique = {shard.number: shard for shard in shards}
            self._by_key.setdefault(name, {})[value] = list(unique.values())

    def of(self, lots: Sequence[Mapping[str, Value]], gates: frozenset[str]) -> list[Shard]:
        """The shards that these lots visit at these gates."""
        if not self._by_key:
            return [shard for shard in self._general if not gates.isdisjoint(shard.gates)]
        found = {shard.number: shard for shard in self._general}
        for name, values in self._by_key.items():
            for lot in lots:
                value = lot.get(name)
                if value is not None:
                    for shard in values.get(value, ()):
                        found[shard.number] = shard
        return [shard for shard in found.values() if not gates.isdisjoint(shard.gates)]


class _Dealer:
    """Puts patterns into shards, one after the other."""

    def __init__(self, shards: list[Shard]) -> None:
        self._shards = shards
        self._open: Shard | None = None

    def add(self, pattern: Pattern) -> Shard:
        """Put ``pattern`` into the open shard, or a new one where that is full."""
        shard = self._open
        if shard is None or not _has_room(shard, pattern):
            shard = self._open = Shard(len(self._shards), [], set(), set(), {})
            self._shards.append(shard)
        shard.patterns.append(pattern)
        shard.gates.update(pattern.gates if pattern.gate is None else (pattern.gate,))
        for kind, tests in pattern.paths:
            shard.kinds.add(kind)
            shard.paths.setdefault(kind, set()).add(tests)
        return shard


def _has_room(shard: Shard, pattern: Pattern) -> bool:
    if len(shard.patterns) >= PATTERNS_EACH:
        return False
    known: set[str] = set()
    return all(len(shard.paths.get(kind, known) | {tests}) <= PATHS_EACH for kind, tests in pattern.paths)
