"""What an identity provider says of somebody becomes a principal: a name, roles, plants. Deny by default.

What may not enter: signatures, keys, HTTP (api/tokens.py); what a role may (api/roles.py).
"""

import re
from collections.abc import Mapping

from msgspec import Struct

from api.access import Principal
from api.roles import ROLES
from engine.errors import SettingInvalid

#: In front of every name that a provider gave: a token has the name of a key only where somebody made one of that name.
PREFIX = "sso:"
#: Fits into sources and journals as it is; with the prefix 64 characters, as signers have.
_NAME = re.compile(r"[A-Za-z0-9._~@|+:/=-]{1,60}\Z")
_GRANT = re.compile(r"(?P<value>[^=]+?)\s*=\s*(?P<roles>[a-z][a-z, -]*?)\s*(?:@\s*(?P<plants>[^@]+?)\s*)?\Z")
_FORM = "value = role, role @ plant, plant; … such as quality-lyon = inspect, hold @ LYON; it = admin"


class Grant(Struct, frozen=True):
    """Whoever has ``value`` in the claim has these roles; in these plants only, where there are any."""

    value: str
    roles: frozenset[str]
    plants: frozenset[str]


class Grants(Struct, frozen=True):
    """The mapping of one installation, in the order in which it was written."""

    grants: tuple[Grant, ...]
    #: Claims by name; a dot goes into an object: ``realm_access.roles``.
    claim: str
    name_claim: str

    def principal(self, claims: Mapping[str, object]) -> Principal | None:
        """Whom the claims speak of; None for somebody without a usable name or without any grant.

        The first grant that fits decides the plants. Others that fit add their roles only where their plants are the
        same: a role that was given in one plant is never had in another.
        """
        name = claims.get(self.name_claim)
        if not isinstance(name, str) or _NAME.match(name) is None:
            return None
        held = _texts(claims, self.claim)
        fitting = [grant for grant in self.grants if grant.value in held]
        if not fitting:
            return None
        plants = fitting[0].plants
        roles = frozenset[str]().union(*(grant.roles for grant in fitting if grant.plants == plants))
        return Principal(PREFIX + name, roles, (), plants)


def read_grants(text: str, claim: str, name_claim: str) -> Grants:
    """The mapping written in the setting. Raises SettingInvalid, naming the part that cannot be read."""
    read = []
    for part in filter(None, (piece.strip() for piece in text.split(";"))):
        found = _GRANT.match(part)
        if found is None:
            raise SettingInvalid(f"LOTGATE_OIDC_GRANTS has {part!r}; expected {_FORM}.")
        roles, plants = _names(found["roles"]), _names(found["plants"] or "")
        for role in sorted(roles - ROLES.keys()):
            raise SettingInvalid(f"LOTGATE_OIDC_GRANTS gives the role {role!r}; there are {', '.join(ROLES)}.")
        read.append(Grant(found["value"].strip(), roles, plants))
    return Grants(tuple(read), claim, name_claim)


def _names(text: str) -> frozenset[str]:
    return frozenset(filter(None, (name.strip() for name in text.split(","))))


def _texts(claims: Mapping[str, object], path: str) -> frozenset[str]:
    """The values of a claim: a list of texts, or one text. A claim whose own name has dots is found first."""
    found: object = claims.get(path)
    if found is None:
        found = claims
        for step in path.split("."):
            found = found.get(step) if isinstance(found, dict) else None
    values = found if isinstance(found, list) else [found]
    return frozenset(value for value in values if isinstance(value, str))
