"""Where a person is in a long list: which rows are shown, of how many, and the ways on and back.

Lists go on behind a row, not at a number, so that nothing is shown twice while rows come and go; the number of rows
before a page is therefore handed on in its address. What may not enter: SQL.
"""

from collections.abc import Collection, Mapping

from msgspec import Struct

from api.console.render import links, plural, thousands
from api.queries import number_of
from engine.store.counting import MOST

#: The parameter that says how many rows came before a page.
ROW = "row"


class Place(Struct, frozen=True):
    """What one page shows of a list, and where the others are."""

    #: ``lots 101 to 200 of 1 572``; empty where nothing is shown.
    words: str
    onward: str | None
    first: str | None


def place(
    path: str, query: Mapping[str, str | None], asked: Mapping[str, str], shown: int, following: str | None,
    total: int | None = None, one: str = "row", many: str | None = None,
) -> Place:  # fmt: skip
    """The place of a page at ``path``?``query``.

    ``asked``: the parameters of the request, with ``cursor`` and ``row``; ``shown``: rows of the page; ``following``:
    the cursor of the next one; ``total``: rows of the whole list, above MOST only that there are more, None where
    nobody counted; ``one``, ``many``: what a row is. Raises Refused for a ``row`` that is no number.
    """
    begun = "cursor" in asked
    before = number_of(asked[ROW], ROW) if ROW in asked else None if begun else 0
    onward = None if following is None else links(path, {**query, "cursor": following, ROW: _text(before, shown)})
    words = _words(before, shown, onward is not None or begun, total, one, many)
    return Place(words, onward, links(path, query) if begun else None)


def _text(before: int | None, shown: int) -> str | None:
    return None if before is None else str(before + shown)


def _words(before: int | None, shown: int, is_part: bool, total: int | None, one: str, many: str | None) -> str:
    if not shown:
        return ""
    if not is_part:
        return plural(shown, one, many)
    kind = many or one + "s"
    of = "" if total is None else f" of more than {thousands(MOST)}" if total > MOST else f" of {thousands(total)}"
    if before is None:  # an address from elsewhere
        return f"{plural(shown, one, many)}{of}"
    return f"{kind} {thousands(before + 1)} to {thousands(before + shown)}{of}"


def narrowed(counts: Mapping[str, int], groups: Mapping[str, Collection[str]]) -> dict[str, int]:
    """How many there are in all (under no name) and in each group of states."""
    found = {"": sum(counts.values())}
    return found | {name: sum(counts.get(state, 0) for state in states) for name, states in groups.items()}
