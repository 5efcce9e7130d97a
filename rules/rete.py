"""The second engine: violation patterns in durable-rules' Rete network, within the part of it that can be trusted.

The library is not safe in general: it reads freed memory, loses matches and confuses hashes outside a narrow use
(tests/rules/test_library_faults.py pins what it does). So this room, the only one that imports it, keeps to that use:

* one network a shard of patterns, one session id a network, warmed up once; facts asserted, actions drained, facts
  retracted, never while an action is pending; any error throws the network away;
* flat facts with short ids of our own, every name checked for hash collisions; numbers as integers, yes/no as
  ``"y"``/``"n"``, no null, no nesting, one type a field (rules/rete_text.py, rules/rete_facts.py);
* patterns of one shape (rules/rete_patterns.py), few enough in a network (rules/rete_shards.py).

What is resolved on the host, by the same code as the reference: table look-ups, counts, the date, what is missing.
What Rete decides: every other comparison.
"""

from collections.abc import Mapping, Sequence

import durable_rules_engine as engine

from rules.compiled import Facts, RuleSet, Value
from rules.rete_facts import Asked, FactWriter, RowKey
from rules.rete_patterns import TODAY, Patterns
from rules.rete_shards import Shard, Shards
from rules.rete_text import ALWAYS, ROW_HEADS, SID

#: What may stay in memory over all networks, in units of some 8 kB, so some 290 MB: a resident row is one unit, a
#: pattern and the network around it are so many (measured: 41 kB and 148 kB).
RESIDENT = 36_000
PATTERN_UNITS, NETWORK_UNITS = 5, 19
#: Table rows that stay asserted in one network; above that it is built anew.
RESIDENT_ROWS = 2000
_SESSION = "1"


class NotEvaluated(Exception):
    """The engine gave an error: the network is gone, and the lot has no second opinion."""


class Network:
    """One Rete network with its one session."""

    def __init__(self, shard: Shard) -> None:
        rules = [f'"r{i}":{pattern.body}' for i, pattern in enumerate(shard.patterns)]
        rules.append('"w":{"all":[{"w":{"kind":"__w"}}]}')
        self.kinds = shard.kinds
        self.units = NETWORK_UNITS + len(shard.patterns) * PATTERN_UNITS
        self._matches = {f"r{i}": (pattern.number, pattern.gate) for i, pattern in enumerate(shard.patterns)}
        self._handle = engine.create_ruleset(f"h{shard.number}", f"{{{','.join(rules)}}}")
        #: Rows that stay asserted.
        self.rows: set[RowKey] = set()
        self._row_facts = 0
        self._today: tuple[int, str] | None = None
        # An action in the fresh session fills fields that the library leaves uninitialised.
        self._put(f'{{"id":"w",{SID}"kind":"__w",{ALWAYS}}}')
        self._drain()

    def judge(self, facts: Sequence[tuple[str, str]]) -> set[tuple[int, str | None]]:
        """(rule number, gate) of the patterns that match ``facts``, which are gone afterwards."""
        kinds, handle, put, take = self.kinds, self._handle, engine.assert_fact, engine.retract_fact
        lines = [line for kind, line in facts if kind in kinds]
        for line in lines:
            put(handle, line)
        found = self._drain()
        for line in lines:
            take(handle, line)
        return found

    def keep_row(self, key: RowKey, bodies: Sequence[str]) -> None:
        """Assert a table row, to stay."""
        for body in bodies:
            self._put(ROW_HEADS[self._row_facts] + body)
            self._row_facts += 1
        self.rows.add(key)

    def keep_today(self, today: int, members: str) -> None:
        """Assert the date, in the place of the last one."""
        if self._today is not None:
            if self._today[0] == today:
                return
            engine.retract_fact(self._handle, self._today[1])
        fact = f'{{"id":"t",{SID}"kind":"{TODAY}",{ALWAYS}{members}}}'
        self._put(fact)
        self._today = (today, fact)

    def close(self) -> None:
        """Give the network back; the session first, or it leaks."""
        engine.delete_state(self._handle, _SESSION)
        engine.delete_ruleset(self._handle)

    def _put(self, fact: str) -> None:
        engine.assert_fact(self._handle, fact)

    def _drain(self) -> set[tuple[int, str | None]]:
        """Take every pending action."""
        found: set[tuple[int, str | None]] = set()
        started = engine.start_action(self._handle)
        if not started:
            return found
        message, session = started[1], started[2]
        while message:
            match = self._matches.get(message[2 : message.index('"', 2)])
            if match is not None:
                found.add(match)
            message = engine.complete_and_start_action(self._handle, session)
        return found


class ReteEngine:
    """The second engine for a whole rule set. Raises CannotCompile."""

    def __init__(self, rules: RuleSet) -> None:
        self._singles = rules.singles
        self._patterns = Patterns(rules)
        self._shards = Shards(self._patterns.all)
        self._writer = FactWriter(rules, self._patterns)
        #: Networks in memory by shard, the one that was asked last at the end.
        self._networks: dict[int, Network] = {}
        self._resident = 0
        self._of_gate: dict[str, set[int]] = {}
        for number, rule in enumerate(rules.rules):
            for gate in rule.gates:
                self._of_gate.setdefault(gate, set()).add(number)
        self._dated = [
            (n, r.effective_from or 0, r.effective_to or 10**7)
            for n, r in enumerate(rules.rules)
            if r.effective_from is not None or r.effective_to is not None
        ]
        self._asleep: tuple[int, frozenset[int]] = (0, frozenset())
        # A network that cannot be built is found now, not when the first lot comes.
        for shard in self._shards.all:
            self._network(shard)

    def failing(self, gate: str, facts: Facts, today: int) -> list[int]:
        """Numbers of the rules of ``gate`` that fail. Raises NotEvaluated."""
        return self.failing_together([Asked(gate, facts, today)])[0]

    def together(self, first: Asked, second: Asked) -> bool:
        """True when the two can be judged in one go: same facts but for the single ones, other gate."""
        if first.gate == second.gate or first.today != second.today:
            return False
        mine, other = first.facts, second.facts
        for kind in mine.keys() | other.keys():
            if kind not in self._singles and mine.get(kind) is not other.get(kind):
                return False
        return all(_one(mine, kind).get(name) == _one(other, kind).get(name) for kind, name in self._writer.link_keys)

    def failing_together(self, asked: Sequence[Asked]) -> list[list[int]]:
        """As :meth:`failing` for cases that are :meth:`together`."""
        try:
            matched = self._run(asked)
        except Exception as error:
            raise NotEvaluated(f"{type(error).__name__}: {error}") from error
        asleep = self._asleep_on(asked[0].today)
        answers = []
        for one in asked:
            numbers, gate = self._of_gate.get(one.gate, ()), one.gate
            found = {n for n, whose in matched if n in numbers and (whose is None or whose == gate)}
            answers.append(sorted(found - asleep))
        return answers

    def close(self) -> None:
        """Give every network back; they are built anew when they are needed."""
        for number in list(self._networks):
            self._close(number)

    def _run(self, asked: Sequence[Asked]) -> set[tuple[int, str | None]]:
        gates = frozenset([one.gate for one in asked])
        lines = self._writer.lines(asked)
        matched: set[tuple[int, str | None]] = set()
        for shard in self._shards.of([_one(one.facts, "lot") for one in asked], gates):
            network = self._network(shard)
            try:
                network = self._rows(shard, network, lines.rows)
                if TODAY in network.kinds:
                    network.keep_today(asked[0].today, self._writer.today(asked[0].today))
                matched |= network.judge(lines.facts)
            except Exception:
                # Half of the facts may be in it: it is left to leak, for even closing it is not safe now.
                self._networks.pop(shard.number, None)
                self._resident -= network.units + len(network.rows)
                raise
        return matched

    def _asleep_on(self, today: int) -> frozenset[int]:
        """Numbers of the rules that are not effective."""
        if self._asleep[0] != today:
            self._asleep = today, frozenset(n for n, first, last in self._dated if not first <= today <= last)
        return self._asleep[1]

    # -- networks in memory -------------------------------------------------------------------------------------

    def _network(self, shard: Shard) -> Network:
        """The network of ``shard``, from memory or built anew; the one asked longest ago makes room."""
        network = self._networks.pop(shard.number, None)
        if network is None:
            network = Network(shard)
            self._resident += network.units
        self._networks[shard.number] = network
        while self._resident > RESIDENT and len(self._networks) > 1:
            self._close(next(iter(self._networks)))
        return network

    def _close(self, number: int) -> None:
        network = self._networks.pop(number)
        self._resident -= network.units + len(network.rows)
        network.close()

    def _rows(self, shard: Shard, network: Network, rows: set[RowKey]) -> Network:
        new = [key for key in rows - network.rows if key[0] in network.kinds]
        if not new:
            return network
        if len(network.rows) + len(new) > RESIDENT_ROWS:
            self._close(shard.number)
            network = self._network(shard)
            new = [key for key in rows if key[0] in network.kinds]
        for key in new:
            network.keep_row(key, self._writer.row(key))
            self._resident += 1
        return network


def _one(facts: Facts, kind: str) -> Mapping[str, Value]:
    lines = facts.get(kind)
    return lines[0] if lines else {}
