"""What several conditions leave possible for one value: the arithmetic behind contradictions.

A number or a date is a whole number here (millionths, days), so that ``< 5`` is the same as ``<= 4.999999``; a date
compared with ``today`` is looked at as its distance from it.
"""

from collections.abc import Iterable

from msgspec import Struct

from rules.compiled import ColumnRef, Condition, Constant, Constants, FieldRef, Today, Type, Value

#: A value: kind or ``row``, name, and whether its distance from today is meant.
Axis = tuple[str, str, bool]


class Domain(Struct):
    """What is left of one value's possibilities."""

    low: int | None = None
    high: int | None = None
    #: The only values that are left; None: no such limit.
    allowed: frozenset[Value] | None = None
    excluded: frozenset[Value] = frozenset()
    present: bool | None = None

    @property
    def empty(self) -> bool:
        """True when no value is left."""
        if self.low is not None and self.high is not None and self.high - self.low < len(self.excluded) + 1:
            # So few values are left that each can be looked at.
            return not any(self.holds(value) for value in range(self.low, self.high + 1))
        return self.allowed is not None and not any(self.holds(v) for v in self.allowed)

    def holds(self, value: Value) -> bool:
        """Is ``value`` left?"""
        if value in self.excluded:
            return False
        if isinstance(value, int) and not isinstance(value, bool):
            return (self.low is None or value >= self.low) and (self.high is None or value <= self.high)
        return True


def axis_of(condition: Condition) -> Axis:
    """Which value ``condition`` is about."""
    left = condition.left
    kind = left.kind if isinstance(left, FieldRef) else "row"
    return kind, left.name, isinstance(condition.right, Today)


def is_constant(condition: Condition) -> bool:
    """True when the other side is written in the rule: constants, ``today``, or nothing."""
    return not isinstance(condition.right, FieldRef | ColumnRef)


def narrow(domain: Domain, condition: Condition) -> bool:
    """Leave only what ``condition`` permits; False when it contradicts what was there."""
    op, right = condition.op, condition.right
    if op in ("is present", "is missing"):
        wanted = op == "is present"
        if domain.present is not None and domain.present is not wanted:
            return False
        domain.present = wanted
        return True
    if domain.present is False:
        return False
    domain.present = True
    if isinstance(right, Constants):
        values = frozenset(right.values)
    elif isinstance(right, Constant | Today):
        values = frozenset([right.days if isinstance(right, Today) else right.value])
    else:
        return True
    _narrow(domain, op, values)
    return not domain.empty


def _narrow(domain: Domain, op: str, values: frozenset[Value]) -> None:
    if op in ("=", "in"):
        domain.allowed = values if domain.allowed is None else domain.allowed & values
        return
    if op in ("!=", "not in"):
        domain.excluded |= values
        return
    bound = int(next(iter(values)))
    if op in (">", ">="):
        bound += op == ">"
        domain.low = bound if domain.low is None else max(domain.low, bound)
    else:
        bound -= op == "<"
        domain.high = bound if domain.high is None else min(domain.high, bound)


def contradiction(conditions: Iterable[Condition]) -> tuple[Condition, Condition | None] | None:
    """The first condition that cannot be true beside the ones before it, and one of those."""
    domains: dict[Axis, Domain] = {}
    seen: dict[tuple[str, str], list[Condition]] = {}
    for condition in conditions:
        axis = axis_of(condition)
        before = seen.setdefault(axis[:2], [])
        if not is_constant(condition):
            if _is_itself(condition) and condition.op in ("!=", "<", ">"):
                return condition, None
            before.append(condition)
            continue
        domain = domains.setdefault(axis, Domain())
        other = domains.get((axis[0], axis[1], not axis[2]))
        if other is not None and domain.present is None:
            domain.present = other.present
        if not narrow(domain, condition):
            return condition, before[-1] if before else None
        before.append(condition)
    return None


def _is_itself(condition: Condition) -> bool:
    return condition.left == condition.right


def is_always_true(condition: Condition, choices: tuple[str, ...]) -> bool:
    """True of every value that is there: compared with itself, or with all the choices there are."""
    if _is_itself(condition):
        return condition.op in ("=", "<=", ">=")
    if condition.left.type is Type.CHOICE and isinstance(condition.right, Constants) and condition.op == "in":
        return set(choices) <= set(condition.right.values)
    return False


def leaves_nothing(condition: Condition, choices: tuple[str, ...]) -> bool:
    """``not in`` every choice there is."""
    listed = isinstance(condition.right, Constants) and condition.left.type is Type.CHOICE
    return listed and condition.op == "not in" and set(choices) <= set(condition.right.values)  # type: ignore[union-attr]
