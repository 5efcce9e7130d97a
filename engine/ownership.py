"""Who owns which reference data: the system of record of a kind, or of one field of it. Pure.

``order=erp, order.status=credit, allocation=wms``: keys of that name alone may change it, whatever their roles. What
nobody owns, whoever has the role may change.
"""

import re
from collections.abc import Mapping
from typing import Any

from engine.errors import LotgateError, SettingInvalid

#: Kind, or kind and field, -> the names of the keys that own it.
Owners = Mapping[str, frozenset[str]]
_OWNED = re.compile(r"[a-z][a-z_-]*(\.[a-z_]+)?")


class NotSystemOfRecord(LotgateError):
    """Somebody wants to change what another system owns."""

    code = "not-system-of-record"
    title = "Another system owns this"
    status = 403


def owners_of(text: str, kinds: Mapping[str, tuple[str, ...]]) -> Owners:
    """The setting, read. ``kinds``: the fields of each kind. Raises SettingInvalid."""
    found: dict[str, frozenset[str]] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        owned, _, names = (word.strip() for word in part.partition("="))
        owners = frozenset(filter(None, (name.strip() for name in names.split("|"))))
        kind, _, field = owned.partition(".")
        if not _OWNED.fullmatch(owned) or not owners or owned in found:
            raise SettingInvalid(
                f"LOTGATE_RECORD_OWNERS has {part!r}; expected a kind or kind.field, once, and the name of its key,"
                " such as order=erp, order.status=credit, allocation=wms|wms2."
            )
        if kind not in kinds or (field and field not in kinds[kind]):
            known = f"the fields of {kind} are {', '.join(kinds[kind])}" if kind in kinds else ", ".join(kinds)
            raise SettingInvalid(f"LOTGATE_RECORD_OWNERS names {owned}, which there is not; there are: {known}.")
        found[owned] = owners
    return found


def check_owner(owners: Owners, kind: str, key: str, by: str, before: Any, after: Any, *, ends: bool = False) -> None:
    """Raises NotSystemOfRecord where ``by`` would change what others own.

    ``before`` and ``after``: the contents as plain objects; None: there is none. ``ends``: it gets a last day. To
    begin, end or confirm a record is the kind's owner's; to change a field, that field's owner's, if it has one.
    """
    whole = owners.get(kind)
    changed = [field for field in sorted({*(before or {}), *(after or {})})
               if (before or {}).get(field) != (after or {}).get(field)]  # fmt: skip
    at_once = before is None or after is None or ends or not changed
    if at_once and whole is not None:
        _refuse(whole, kind, key, by)
        return
    for field in changed:
        _refuse(owners.get(f"{kind}.{field}", whole), f"{field} of the {kind}", key, by)


def _refuse(owners: frozenset[str] | None, what: str, key: str, by: str) -> None:
    if owners is not None and by not in owners:
        names = " or ".join(sorted(owners))
        raise NotSystemOfRecord(f"The system of record for the {what} {key} is {names}; {by} may not change it.")
