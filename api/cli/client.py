"""The service as the command line sees it: HTTP with a key, and every failure one sentence.

What may not enter: what any command asks for.
"""

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec

from api.cli.main import FOUND, Failure
from api.client.notice import notice
from engine.settings import ADMIN_KEY_FILE, Settings

if TYPE_CHECKING:
    import httpx


class Client:
    """A caller of the running service."""

    def __init__(self, options: argparse.Namespace, settings: Settings) -> None:
        self.url = (options.url or settings.base_url).rstrip("/")
        address = urlsplit(self.url)
        if address.scheme not in ("http", "https") or not address.hostname:
            raise Failure(f"--url {self.url!r} is no address; expected for example http://127.0.0.1:8000")
        self.key = options.key or key_of(settings)
        #: What the last list left out, in a sentence of the service.
        self.notice: str | None = None
        # Imported here: it takes longer than all that commands do which ask nobody.
        import httpx

        headers = {"Authorization": f"Bearer {self.key}"}
        # Without TLS there is nothing to verify, and the certificates need not be read; redirects are not followed.
        verify = address.scheme == "https"
        self._http = httpx.Client(base_url=self.url, timeout=30.0, trust_env=False, headers=headers, verify=verify)

    def try_call(self, method: str, path: str, **arguments: Any) -> "httpx.Response":
        """One request; raises httpx.TransportError when nobody answers."""
        answer = self._http.request(method, path, **arguments)
        notice(answer)
        return answer

    def call(self, method: str, path: str, **arguments: Any) -> "httpx.Response":
        """One request; raises Failure when nobody answers."""
        from httpx import TransportError

        try:
            return self.try_call(method, path, **arguments)
        except TransportError as error:
            raise self.away(error) from None

    @contextmanager
    def stream(self, method: str, path: str, **arguments: Any) -> Iterator["httpx.Response"]:
        """One request whose answer is read while it comes; raises Failure when nobody answers, or no longer."""
        from httpx import TransportError

        try:
            with self._http.stream(method, path, **arguments) as answer:
                yield answer
        except TransportError as error:
            raise self.away(error) from None

    def away(self, error: Exception) -> Failure:
        """Nobody answers."""
        return Failure(f"Lotgate does not answer at {self.url} ({error}); start it with `make up`")

    def get(self, path: str, **parameters: Any) -> Any:
        """The JSON at ``path``; raises Failure for a problem."""
        wanted = {name: value for name, value in parameters.items() if value is not None}
        return self.json(self.call("GET", path, params=wanted))

    def pages(self, path: str, limit: int | None = None, **parameters: Any) -> list[Any]:
        """Every row of a list, page by page; at most ``limit``."""
        return list(islice(self.each(path, **parameters), limit))

    def each(self, path: str, rows: str = "data", **parameters: Any) -> Iterator[Any]:
        """Every row of a list, asked for page by page while they are taken; ``rows``: where they are in a page."""
        cursor: str | None = None
        while True:
            page = self.get(path, limit=500, cursor=cursor, **parameters)
            self.notice = page.get("notice")
            yield from page[rows]
            cursor = page["next"]
            if cursor is None:
                return

    def print_sheet(self, path: str) -> None:
        """Print the table at ``path`` while it comes; raises Failure for a problem, and where it breaks off."""
        with self.stream("GET", path, params={"format": "csv"}) as answer:
            if answer.status_code >= 400:
                answer.read()
                self.json(answer)
            for text in answer.iter_text():
                print(text, end="")

    def json(self, answer: "httpx.Response") -> Any:
        """The answer's JSON; raises Failure for a problem."""
        body = body_of(answer)
        if answer.status_code in (401, 403):
            words = f"Lotgate at {self.url} does not let this API key do that ({answer.status_code})"
            raise Failure(f"{words}; use another with --key or LOTGATE_API_KEY")
        if answer.status_code >= 400:
            words = body.get("detail") or body.get("title") or answer.reason_phrase
            raise Failure(f"{words} ({answer.status_code})", FOUND)
        return body


def body_of(answer: "httpx.Response") -> Any:
    """The JSON of an answer; raises Failure when it is none, for then it is not Lotgate that answers."""
    try:
        return msgspec.json.decode(answer.content) if answer.content else {}
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise Failure(f"{answer.url} answers {answer.status_code} with something that is not JSON; is that Lotgate?"
                      ) from None  # fmt: skip


def key_of(settings: Settings) -> str:
    """The key from the settings, else the administrator's in LOTGATE_HOME."""
    if settings.api_key:
        return settings.api_key
    path = settings.home / ADMIN_KEY_FILE
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError:
        raise Failure(
            f"there is no API key: give --key, set LOTGATE_API_KEY, or start Lotgate, which makes {path}"
        ) from None
