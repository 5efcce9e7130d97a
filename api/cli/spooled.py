"""``lotgate submit --spool``: events through a file on disk, for whoever sends from where the network fails.

What may not enter: how the spool keeps them (api/client/spool.py).
"""

import argparse
from pathlib import Path

from api.cli.client import key_of
from api.cli.main import DONE, FOUND, Failure, counted, print_json
from api.client.caller import Away, Caller, Shut
from api.client.spool import Forwarded, Refusal, Spool, SpoolBusy, SpoolFull, reason
from engine.settings import Settings

#: An outage is not waited for: what could not be sent waits for the next run.
_TRIES = 2


def through_spool(options: argparse.Namespace, settings: Settings, events: list[bytes]) -> int:
    """Keep ``events`` on disk, then send everything that waits there as far as it goes; 1 when some were refused."""
    spool = Spool(Path(options.spool))
    before = len(spool.refused())
    done, why = Forwarded(), ""
    try:
        spool.put(events)
        with Caller(options.url or settings.base_url, options.key or key_of(settings), tries=_TRIES) as caller:
            spool.forward(caller.send, done)
    except SpoolFull as error:
        raise Failure(f"{error}; none was kept") from None
    except (Away, Shut, SpoolBusy) as error:
        why = str(error)
    return _say(options, spool, done, spool.refused()[before:], why)


def _say(options: argparse.Namespace, spool: Spool, done: Forwarded, refused: list[Refusal], why: str) -> int:
    waiting = len(spool)
    if options.json:
        lines = [{"event": r.event.decode(), "status": r.status, "detail": reason(r)} for r in refused]
        print_json({"outcomes": done.outcomes, "refused": lines, "waiting": waiting, "why": why})
        return FOUND if refused else DONE
    for refusal in refused:
        print(f"refused: {refusal.event.decode(errors='replace')[:200]}: {reason(refusal)}")
    sent = sum(done.outcomes.values())
    outcomes = ", ".join(f"{number} {name}" for name, number in sorted(done.outcomes.items()))
    print(counted(sent, "event", "events") + (f": {outcomes}" if outcomes else " sent"))
    if waiting:
        print(f"{counted(waiting, 'event waits', 'events wait')} in {options.spool}: {why}")
    return FOUND if refused else DONE
