"""An event on its way in, with what is worked out about it once: its keys, its digest, the lots it touches. Pure."""

from msgspec import Struct

from engine import events as ev
from engine.concessions import cited

#: ``if_match`` of whoever asks only that the lot is there.
ANY_VERSION = -1


class Submission(Struct):
    """An event on its way in, with what was worked out about it once."""

    event: ev.Event
    principal: str
    #: 32 hex digits for (source, id).
    key: str
    #: The data block as it is journaled.
    data: bytes
    #: SHA-256 of type, subject and data.
    digest: str
    business_key: str | None
    #: Ids of every lot that the event may change or make; the subject is the first.
    touched: tuple[str, ...]
    #: Those of them that it makes besides the subject.
    made: tuple[str, ...]
    if_match: int | None = None
    #: Concessions that it names: events that name the same one are decided one after the other.
    concessions: tuple[str, ...] = ()


def submission(event: ev.Event, principal: str, if_match: int | None = None) -> Submission:
    """``event`` made ready for the pipeline."""
    data, made = ev.content(event), lots_made(event)
    return Submission(
        event, principal, ev.event_key(event.source, event.id), data, ev.digest(event, data),
        ev.business_key(event), (event.subject, *made, *_used(event)), made, if_match,
        cited(event),
    )  # fmt: skip


def lots_made(event: ev.Event) -> tuple[str, ...]:
    """Ids of the lots that ``event`` makes besides its subject, each once."""
    made: list[str] = []
    if isinstance(event, ev.LotSplit):
        made = [child.lot for child in event.data.children]
    elif isinstance(event, ev.LotRepacked):
        made = [pack.lot for pack in event.data.into]
    elif isinstance(event, ev.UsageDecided):
        made = lots_of_parts(event)
    elif isinstance(event, ev.LotShipped) and event.data.quantity is not None:
        made = [child_of_shipment(event)]
    elif isinstance(event, ev.HoldApplied) and event.data.quantity is not None:
        made = [child_of_hold(event)]
    elif isinstance(event, ev.LotDispositioned) and event.data.child is not None:
        made = [event.data.child]
    return tuple(lot for lot in dict.fromkeys(made) if lot != event.subject)


def _used(event: ev.Event) -> tuple[str, ...]:
    """Ids of lots besides its subject that ``event`` takes from, each once."""
    used = [part.lot for part in event.data.parts] if isinstance(event, ev.LotMerged) else []
    return tuple(lot for lot in dict.fromkeys(used) if lot != event.subject)


def lots_of_parts(event: ev.UsageDecided) -> list[str]:
    """The lots that the parts of a usage decision become, in their order."""
    return [part.lot or f"{event.subject}-{number}"[:64] for number, part in enumerate(event.data.parts, 1)]


def child_of_shipment(event: ev.LotShipped) -> str:
    """The lot that leaves when only a part is shipped."""
    return event.data.child or f"{event.subject}-{event.data.shipment}"[:64]


def child_of_hold(event: ev.HoldApplied) -> str:
    """The lot that is held when only a part is."""
    return event.data.child or f"{event.subject}-{event.data.hold}"[:64]


def concession_key(number: str) -> str:
    """A concession as something that events lay claim to, beside lots: no id of a lot is so long a text."""
    return f"concession:{number}".ljust(65)


def claims(sub: Submission) -> set[str]:
    """What an event lays claim to: a batch that claims any of it too has to come first."""
    found = {sub.key, *sub.touched, *(concession_key(number) for number in sub.concessions)}
    if sub.business_key is not None:
        found.add(sub.business_key)
    return found
