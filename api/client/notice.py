"""What answers say about the calls themselves: that one will go away.

What may not enter: calling.
"""

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import httpx

log = logging.getLogger("lotgate.client")

#: What was said already, by method and the words of the service: said once a process, not once an answer.
_said: set[tuple[str, str, str, str]] = set()


def notice(answer: "httpx.Response") -> None:
    """Log a warning, once, when the call that ``answer`` belongs to is deprecated (RFC 9745)."""
    since = answer.headers.get("Deprecation")
    if since is None:
        return
    sunset, link = answer.headers.get("Sunset", ""), answer.headers.get("Link", "")
    said = (answer.request.method, since, sunset, link)
    if said in _said:
        return
    _said.add(said)
    end = f"; it will not answer any more from {sunset} on" if sunset else ""
    where = f"; see {link.partition('>')[0].lstrip('<')}" if 'rel="deprecation"' in link else ""
    log.warning("%s %s is deprecated%s%s", answer.request.method, answer.request.url.path, end, where)
