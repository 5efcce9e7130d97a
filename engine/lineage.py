"""No lot is made of itself: the links that one batch knows, and whether an event would close a loop in them.

Reads through the committer's cursor. Two batches that decide at the same moment in two processes do not see each
other's links; whoever walks links is safe with loops (engine/tracing.py).
"""

from collections.abc import Iterable

from engine import events as ev
from engine.genealogy import ends_of
from engine.store import writing
from engine.submission import Submission

#: Ends of links that are looked at for a loop; a family that is larger is believed.
MAX_LOOKED_AT = 10_000


class Links:
    """Links known to one batch: those stored, and those that it makes itself."""

    def __init__(self, cursor: writing.Cursor, statements: writing.Statements) -> None:
        self._cursor = cursor
        self._statements = statements
        self._own: list[tuple[str, str]] = []

    def add(self, pairs: Iterable[tuple[str, str]]) -> None:
        """(parent, child) of links that the batch makes."""
        self._own += pairs

    def loop(self, sub: Submission) -> bool:
        """Would ``sub`` make a lot of itself? Looks from both ends, from the one with fewer relatives first."""
        if not isinstance(sub.event, ev.LotProduced | ev.LotConsumed | ev.LotMerged) and not sub.made:
            return False
        used, made = ends_of(sub.event, sub.made)
        up, down = set(used), set(made)
        above, below = used, made
        while above and below:
            if up & down:
                return True
            if len(up) + len(down) > MAX_LOOKED_AT:
                return False
            if len(above) <= len(below):
                above = [end for end in self._next("child", above) if end not in up]
                up.update(above)
            else:
                below = [end for end in self._next("parent", below) if end not in down]
                down.update(below)
        return bool(up & down)

    def _next(self, near: str, ends: list[str]) -> list[str]:
        at = 0 if near == "parent" else 1
        pairs = writing.read_links(self._cursor, self._statements, near, ends)
        mine = set(ends)
        pairs += [pair for pair in self._own if pair[at] in mine]
        return list(dict.fromkeys(pair[1 - at] for pair in pairs))
