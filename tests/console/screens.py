"""``python -m tests.console.screens --out DIR``: a picture of every page of the console, to be looked at by people.

    --fill empty|typical|large   what lies in the plant (typical); may be said more than once
    --theme light|dark           one theme (both)
    --only 'lot-*'               pages whose name fits; may be said more than once

A real service runs on a home of its own: ``empty`` as a fresh installation, ``typical`` with 300 lots and 12 rows in
every list, ``large`` with 600 lots and 10,000 rows. Routes come from the application, so that a new page is there as
soon as it is. Of each there is one picture, DIR/<fill>-<theme>/<page>.png, 1366 px wide and at most 2,600 px high; of
what has several faces (a lot that is blocked, a form that is open, a rule with a mistake) some more, and for
``typical`` the main pages on a tablet, DIR/<fill>-<theme>-tablet. In an empty plant a page of something asks for what
is not there, so that the refusal is seen. Prints what went wrong on a page; ends with 1 where something did.

What may not enter: what is right and wrong on a page (test_console_size.py), and what lies in a plant (bench/plant.py).
"""

import argparse
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path

from msgspec import Struct
from playwright.sync_api import Browser, Error, Page, expect

from api.console import handbook
from bench.console import FILES, NO_PAGES, routes
from bench.plant import STORIES, story_names
from bench.plant_lists import GIANT, ITEM, lot_name
from tests.api.conftest import Service
from tests.console.conftest import PATIENCE_MS, chromium
from tests.console.plant import SIZES, Plant

FILLS = {"empty": None, "typical": SIZES["usual"], "large": SIZES["large"]}
THEMES = ("light", "dark")
WIDTH, HEIGHT, TABLET_WIDTH, MOST_HEIGHT = 1366, 900, 820, 2_600
#: What stands in an address for a thing that there is not.
NOBODY = {"lot": "NO-SUCH-LOT", "delivery": "999999", "hold": "NO-SUCH-HOLD", "recall": "NO-SUCH-RECALL",
          "kind": "order", "key": "NO-SUCH-ORDER", "digest": "active"}  # fmt: skip
_DOCUMENT = "/console/help/{path:path}"


def _nothing(page: Page) -> None:
    """A page as it comes."""


class Shot(Struct, frozen=True):
    """One picture: its name, where the page is, what is done there first, and who looks."""

    name: str
    path: str
    do: Callable[[Page], None] = _nothing
    #: Also on a tablet.
    main: bool = False
    #: As much as the window shows, and no more.
    window: bool = False
    signed_in: bool = True


# -- what is done on a page before it is looked at -----------------------------------------------------------------


def _open_all(page: Page) -> None:
    """Every part that is folded, and every form, open."""
    page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true })")


def _scan_nothing(page: Page) -> None:
    page.locator("#scan").fill("no-such-lot")
    page.locator("#scan").press("Enter")
    page.wait_for_load_state("load")


def _ask_for_keys(page: Page) -> None:
    page.locator("main").focus()
    page.keyboard.press("?")
    expect(page.locator("#keys")).to_be_visible()


def _mistake(page: Page) -> None:
    """A rule with a mistake, and what is said of it."""
    text = page.locator("#content")
    source = text.input_value()
    text.fill(re.sub(r"lot\.expires_on\b", "lot.expires_onn", source).replace("severity:", "severety:", 1))
    expect(page.locator("#findings .spots li").first).to_be_visible()


def _wrong_key(page: Page) -> None:
    page.locator("input[name=key]").fill("lotgate_wrong")
    page.locator("button.primary").click()
    expect(page.locator("[role=alert]")).to_be_visible()


# -- which pictures ------------------------------------------------------------------------------------------------


def name_of(route: str) -> str:
    """``/console/lots/{lot:str}/family`` -> ``lots-lot-family``."""
    return re.sub(r"\{(\w+):\w+\}", r"\1", route.removeprefix("/console").strip("/")).replace("/", "-") or "board"


def shots_of(known: list[str], found: dict[str, list[str]] | None, lots: int) -> Iterator[Shot]:
    """Every picture of a plant. ``known``: its routes; ``found``: addresses of each, None in an empty plant."""
    yield Shot("login", "/console/login", signed_in=False)
    yield Shot("login-wrong-key", "/console/login", _wrong_key, signed_in=False)
    yield Shot("no-such-page", "/console/no-such-page")
    yield Shot("keys", "/console", _ask_for_keys, window=True)
    yield Shot("board-scan-finds-nothing", "/console", _scan_nothing)
    for route in sorted(set(known) - {*NO_PAGES, *FILES, _DOCUMENT}):
        none = re.sub(r"\{(\w+):\w+\}", lambda match: NOBODY.get(match[1], "no-such-thing"), route)
        # A page of sign-on is the provider's, and there is none.
        if "/login/" not in route:
            yield Shot(name_of(route), none if found is None else found[route][0], main="{" not in route)
    rule = "/console/rules/active/edit?file=release/release.yaml"
    yield Shot("rules-digest-edit-a-file", rule)
    yield Shot("rules-digest-edit-mistake", rule, _mistake)
    yield Shot("readiness-forms-open", "/console/readiness", _open_all)
    if found is None:
        yield Shot("help-no-such-document", "/console/help/no-such-document")
        yield Shot("quality-item", "/console/quality?item=NO-SUCH-ITEM")
        yield Shot("holds-preview", "/console/holds?preview=yes&item=NO-SUCH-ITEM")
        yield Shot("recalls-preview", "/console/recalls?preview=yes&item=NO-SUCH-ITEM")
        return
    yield from _faces(found, lots)
    for document in handbook.names():
        yield Shot(f"help-{document}", f"/console/help/{document}", main=document == "runbook")


def _faces(found: dict[str, list[str]], lots: int) -> Iterator[Shot]:
    """Of a page that has several faces those that differ."""
    names = story_names()
    middle = lots // 2 - lots // 2 % len(names)
    told = {story: lot_name(middle + names.index(story)) for story in STORIES}
    for story, lot in told.items():
        yield Shot(f"lots-lot-{story}", f"/console/lots/{lot}", main=story in ("held", "released"))
    for story in ("inspected", "held", "released", "recorded"):
        yield Shot(f"lots-lot-{story}-forms-open", f"/console/lots/{told[story]}", _open_all)
    yield Shot("lots-lot-giant", f"/console/lots/{GIANT}", main=True)
    yield Shot("lots-lot-family-many", found["/console/lots/{lot:str}/family"][-1])
    yield Shot("board-filtered", f"/console?state=blocked&item={ITEM}")
    yield Shot("board-finds-nothing", "/console?supplier=NOBODY")
    yield Shot("board-search", f"/console?q={ITEM}")
    yield Shot("backlog-release", "/console/backlog?queue=release")
    yield Shot("backlog-inspection", "/console/backlog?queue=inspection")
    yield Shot("tasks-closed", "/console/tasks?state=closed")
    yield Shot("tasks-forms-open", "/console/tasks", _open_all)
    yield Shot("records-closed", "/console/records?status=closed")
    yield Shot("deliveries-dead", "/console/deliveries?state=dead&target=erp")
    yield Shot("deliveries-pending", "/console/deliveries?state=pending")
    yield Shot("deliveries-forms-open", "/console/deliveries", _open_all)
    yield Shot("quality-item", f"/console/quality?item={ITEM}", main=True)
    yield Shot("quality-finds-nothing", "/console/quality?item=nothing")
    yield Shot("readiness-asked", found["/console/readiness"][1])
    yield Shot("holds-preview", found["/console/holds"][1], _open_all)
    yield Shot("holds-preview-lift", found["/console/holds"][3], _open_all)
    yield Shot("holds-hold-lifted", found["/console/holds/{hold:str}"][1])
    yield Shot("recalls-preview", found["/console/recalls"][1], _open_all)
    yield Shot("recalls-recall-closed", found["/console/recalls/{recall:str}"][1])
    yield Shot("recalls-recall-forms-open", found["/console/recalls/{recall:str}"][0], _open_all)
    yield Shot("rules-forms-open", "/console/rules", _open_all)
    yield Shot("rules-digest-forms-open", "/console/rules/active", _open_all)
    for path in found["/console/reference"][1:9]:
        yield Shot(f"reference-{path.partition('kind=')[2]}", path)
    for path in found["/console/reference/{kind:str}/{key:str}"][1:]:
        yield Shot(f"reference-kind-key-{path.split('/')[3]}", path)


# -- looking -------------------------------------------------------------------------------------------------------


@contextmanager
def plant(fill: str) -> Iterator[tuple[Service, list[Shot]]]:
    """A service with what lies in it, and its pictures."""
    with tempfile.TemporaryDirectory(prefix="lotgate-screens-") as name:
        home = Path(name) / "home"
        home.mkdir()
        known, size = routes(Path(name) / "routes"), FILLS[fill]
        if size is None:
            service, found = Service(home), None
            service.start()
        else:
            made = Plant(home, *size)
            service, found = made.service, made.addresses
        try:
            yield service, list(shots_of(known, found, size[0] if size else 0))
        finally:
            service.stop()


class Photographer:
    """Somebody with a browser window, signed in or not, who keeps what is seen in ``folder``."""

    def __init__(self, browser: Browser, service: Service, theme: str, folder: Path, width: int) -> None:
        self._service, self._folder, self._width = service, folder, width
        how = {"viewport": {"width": width, "height": HEIGHT}, "color_scheme": theme, "reduced_motion": "reduce"}
        self._contexts = [browser.new_context(**how) for _ in range(2)]
        self._stranger, self._person = (context.new_page() for context in self._contexts)
        self._wrong: list[str] = []
        for page in (self._stranger, self._person):
            page.set_default_timeout(PATIENCE_MS)
            page.on("pageerror", lambda error: self._wrong.append(str(error)))
        self._person.goto(f"{service.url}/console/login")
        self._person.locator("input[name=key]").fill(service.key)
        self._person.locator("button.primary").click()
        self._person.locator(".rooms").wait_for()
        folder.mkdir(parents=True, exist_ok=True)

    def take(self, shot: Shot) -> list[str]:
        """One picture; gives what went wrong on the page."""
        page = self._person if shot.signed_in else self._stranger
        self._wrong.clear()
        try:
            answer = page.goto(self._service.url + shot.path, wait_until="load")
            if answer is None or answer.status >= 500:
                self._wrong.append(f"answered {answer and answer.status}")
            shot.do(page)
        except (Error, AssertionError) as error:
            self._wrong.append(str(error).splitlines()[0])
        high = HEIGHT if shot.window else min(MOST_HEIGHT, page.evaluate("document.documentElement.scrollHeight"))
        if (wide := page.evaluate("document.documentElement.scrollWidth")) > self._width:
            self._wrong.append(f"is {wide} px wide, more than the window")
        clip = {"x": 0, "y": 0, "width": self._width, "height": max(high, HEIGHT)}
        page.screenshot(path=self._folder / f"{shot.name}.png", full_page=not shot.window, clip=clip)
        return [f"{self._folder.name}/{shot.name}: {what}" for what in self._wrong]

    def close(self) -> None:
        """Close the windows."""
        for context in self._contexts:
            context.close()


def look(fill: str, themes: list[str], only: list[str], out: Path) -> list[str]:
    """Every picture of one plant; gives what went wrong."""
    wrong: list[str] = []
    with plant(fill) as (service, shots), chromium() as browser:
        wanted = [shot for shot in shots if any(fnmatch(shot.name, pattern) for pattern in only)]
        if not wanted:
            raise SystemExit(f"screens: no page fits; there are: {', '.join(shot.name for shot in shots)}")
        for theme in themes:
            rounds = [(out / f"{fill}-{theme}", WIDTH, wanted)]
            if fill == "typical":
                rounds.append((out / f"{fill}-{theme}-tablet", TABLET_WIDTH, [shot for shot in wanted if shot.main]))
            for folder, width, some in rounds:
                began = time.monotonic()
                photographer = Photographer(browser, service, theme, folder, width)
                for shot in some:
                    wrong += photographer.take(shot)
                photographer.close()
                print(f"{folder}: {len(some)} pictures in {time.monotonic() - began:.0f} s", flush=True)
    return wrong


def main() -> None:
    """Look, and say what went wrong."""
    options = argparse.ArgumentParser(prog="python -m tests.console.screens", description="Pictures of the console.")
    options.add_argument("--out", type=Path, required=True, help="folder for the pictures")
    options.add_argument("--fill", choices=FILLS, action="append", help="what lies in the plant (typical)")
    options.add_argument("--theme", choices=THEMES, action="append", help="one theme (both)")
    options.add_argument("--only", action="append", metavar="PATTERN", help="names of pages, such as 'lots-*' (all)")
    chosen = options.parse_args()
    wrong: list[str] = []
    for fill in chosen.fill or ["typical"]:
        wrong += look(fill, chosen.theme or list(THEMES), chosen.only or ["*"], chosen.out)
    print("\n".join(wrong))
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
