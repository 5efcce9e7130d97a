"""Electronic signatures: whoever signs says again who it is, and signs the lot as it was shown.

As 21 CFR Part 11 (11.50, 11.70, 11.200) and EU GMP Annex 11 (14) ask: the name of the signer, the time and the meaning;
bound to the record by its hash; signed with the signer's key, entered for each signature and kept nowhere.
"""

from typing import Annotated, Any

from litestar import Request, Response, post
from litestar.handlers import HTTPRouteHandler
from msgspec import Meta, Struct

from api.access import KeyRing, Principal
from api.answers import visit_of
from api.body import Patience
from api.commands import answered, idempotency_key
from api.door import path_part
from api.permits import Permits
from api.problems import Refused
from api.said import said
from engine import events as ev
from engine.committer import Committer


class Sign(Struct, frozen=True, forbid_unknown_fields=True):
    """What is signed, what that means, and once more who it is."""

    #: ``release``, ``review``, ``reject``, or another word of the plant.
    meaning: ev.Code
    #: The lot's version and hash (``head``) as they were shown.
    version: Annotated[int, Meta(ge=1)]
    digest: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
    #: The signer's own key, entered for this signature.
    key: Annotated[str, Meta(min_length=1, max_length=200)]
    #: In which of the signer's roles.
    role: ev.Code | None = None
    text: ev.Text = ""
    #: The quality record whose decision is signed, for its material review board.
    record: ev.Code | None = None


def sign_route(committer: Committer, patience: Patience, permits: Permits, keys: KeyRing) -> HTTPRouteHandler:
    """The route, for Litestar."""

    @post("/v1/lots/{lot:str}/sign", status_code=201)
    async def sign_lot(request: Request[Any, Any, Any], lot: str) -> Response[bytes]:
        """Sign a lot as it is."""
        await permits.check_lot(visit_of(request.scope).principal, path_part(lot))
        visit, wanted = await said(request, patience, Sign, "sign")
        key = idempotency_key(visit.headers.get(b"idempotency-key"))
        event = signature_of(wanted, visit.principal, keys, path_part(lot), key)
        name = visit.principal.name
        return answered(await committer.submit(event, name, None))

    return sign_lot


def signature_of(wanted: Sign, principal: Principal, keys: KeyRing, lot: str, key: str) -> ev.LotSigned:
    """The event that a signature is, once it is sure who signs. Raises Refused."""
    name, signer = principal.name, keys.find(wanted.key.encode())
    if signer is None or signer.name != name or not signer.may("sign"):
        raise Refused("forbidden", f"The key that was entered is not one that {name} signs with.", "/key")
    if wanted.role is not None and wanted.role not in signer.roles:
        raise Refused("forbidden", f"{name} does not have the role {wanted.role}.", "/role")
    data = ev.Signing(
        meaning=wanted.meaning, version=wanted.version, digest=wanted.digest, signer=name[:64], role=wanted.role,
        text=wanted.text, record=wanted.record,
    )  # fmt: skip
    return ev.LotSigned(specversion="1.0", id=key, source=f"api/{name}", subject=lot, data=data)
