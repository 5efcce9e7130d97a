"""What a browser posts: read within bounds, from our own pages only.

What may not enter: what is done with it. Every form carries a key made with its page, so that a second click, a
reload or a lost answer never acts twice.
"""

import hmac
from urllib.parse import parse_qsl

from api.answers import visit_of
from api.body import Patience, whole
from api.console.render import AnyRequest
from api.problems import Refused

#: Bytes of an ordinary form; forms with rule files say how much they take.
MAX_FORM_BYTES = 64 * 1024
#: The field whose text counts to its last white space: a file.
WHOLE = "content"
_MEDIA_TYPE = b"application/x-www-form-urlencoded"


async def read_form(
    request: AnyRequest, patience: Patience, most: int = MAX_FORM_BYTES, *, sealed: bool = True
) -> dict[str, str]:
    """The fields that were filled in; raises Refused for what no page of ours sends.

    ``sealed``: it belongs to a session, where there is one.
    """
    visit = visit_of(request.scope)
    headers = visit.headers
    # Browsers say where a request comes from, and no script of another site can say otherwise.
    if headers.get(b"sec-fetch-site", b"same-origin") not in (b"same-origin", b"none"):
        raise Refused("forbidden", "This came from a page that is not Lotgate's; nothing was done.")
    if headers.get(b"content-type", b"").split(b";")[0].strip().lower() != _MEDIA_TYPE:
        raise Refused("unsupported-media-type", "A page of the console posts application/x-www-form-urlencoded.")
    body = await patience.wait(whole(request.receive, most, headers.get(b"content-length")))
    try:
        pairs = parse_qsl(body.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=2_000)
    except (UnicodeDecodeError, ValueError):
        raise Refused("malformed", "The form is not UTF-8.") from None
    signed_in = visit.signed_in if sealed else None
    if signed_in is not None and not hmac.compare_digest(dict(pairs).get("csrf", "").encode(), signed_in.csrf.encode()):
        raise Refused("forbidden", "This came from a page of another session; nothing was done. Open the page again.")
    # Browsers send line ends as CR LF; nobody typed the CR.
    found = {name: value.replace("\r\n", "\n") for name, value in pairs if value.strip()}
    return {name: value if name == WHOLE else value.strip() for name, value in found.items()}


def wanted(form: dict[str, str], name: str, what: str) -> str:
    """A field that has to be filled in; raises Refused."""
    value = form.get(name)
    if value is None:
        raise Refused("parameter-invalid", f"{what} is missing.", name)
    return value


def key_of(form: dict[str, str], command: str) -> str:
    """Identity of what a page asks for: the same for every time that it is sent."""
    return f"console-{command}-{wanted(form, 'token', 'The token of the page')}"[:255]
