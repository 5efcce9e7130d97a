"""A real browser in front of the real service: Debian's chromium, driven by Playwright. Nothing is ever downloaded."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, Response, expect, sync_playwright

from tests.api.conftest import Service, hold, own, receipt, service  # noqa: F401  # fixtures

CHROMIUM = Path(os.environ.get("LOTGATE_CHROMIUM", "/usr/bin/chromium"))
#: A busy machine is given time; what is looked for is there much sooner.
PATIENCE_MS = 30_000
expect.set_options(timeout=PATIENCE_MS)
#: What a whole page may transfer.
MAX_PAGE_BYTES = 200_000


@contextmanager
def chromium() -> Iterator[Browser]:
    """The browser, until the block ends."""
    assert CHROMIUM.exists(), f"the console is looked at in a browser: {CHROMIUM} is missing (apt-get install chromium)"
    with sync_playwright() as playwright:
        # A container's user may be root, for whom chromium has no sandbox, and its /dev/shm is small.
        arguments = ["--no-sandbox", "--disable-dev-shm-usage"]
        running = playwright.chromium.launch(executable_path=str(CHROMIUM), args=arguments)
        yield running
        running.close()


# Of a module: while Playwright runs, its event loop is in the way of other modules' tests in the same process.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running


class Visitor:
    """Somebody at the console. Whatever the browser complains of is a fault, unless it was expected."""

    def __init__(self, page: Page, service: Service) -> None:  # noqa: F811
        self.page = page
        self.service = service
        self.complaints: list[str] = []
        self.answers: list[Response] = []
        page.set_default_timeout(PATIENCE_MS)
        page.on("console", lambda m: self.complaints.append(m.text) if m.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("response", lambda answer: self.answers.append(answer))

    def open(self, path: str, status: int = 200) -> Page:
        """Go to a page, and count what it transfers until it stands."""
        self.answers.clear()
        answer = self.page.goto(self.service.url + path, wait_until="load")
        assert answer is not None
        assert answer.status == status, answer.text()
        return self.page

    def transferred(self) -> int:
        """Bytes of bodies and headers since the page was opened."""
        return sum(sum(part.request.sizes()[name] for name in ("responseBodySize", "responseHeadersSize"))
                   for part in self.answers)  # fmt: skip

    def offences(self, *, without: Sequence[str] = ()) -> list[str]:
        """What axe finds that is serious, in words: everything in the light, and what can be read in the dark.

        ``without``: selectors of what is not looked at, such as the hundredth row of a table.
        """
        context = {"exclude": [[one] for one in without]} if without else None
        self.page.emulate_media(color_scheme="light")
        found = Axe().run(self.page, context=context).response["violations"]
        self.page.emulate_media(color_scheme="dark")
        dark = Axe().run(self.page, context=context, options={"runOnly": ["color-contrast"]}).response["violations"]
        return [
            f"{one['id']}: {one['help']}: {node['html'][:120]} {node['failureSummary'][:200]}"
            for one in found + dark if one["impact"] in ("serious", "critical") for node in one["nodes"]
        ]  # fmt: skip


@pytest.fixture
def visitor(browser: Browser, service: Service) -> Iterator[Callable[..., Visitor]]:  # noqa: F811
    """Makes visitors; each has a browser window of its own."""
    made: list[tuple[Any, Visitor]] = []

    def make(key: str | None = None, **how: Any) -> Visitor:
        headers = {"Authorization": f"Bearer {key or service.key}"}
        # Whatever is on its way from one colour to another has no contrast that counts.
        usual = {"viewport": {"width": 1366, "height": 900}, "reduced_motion": "reduce"}
        context = browser.new_context(extra_http_headers=headers, **{**usual, **how})
        visitor = Visitor(context.new_page(), service)
        made.append((context, visitor))
        return visitor

    yield make
    complaints = [text for _, visitor in made for text in visitor.complaints]
    for context, _ in made:
        context.close()
    assert complaints == []
