"""Signing in at the console with a provider, in a real browser: the link, the other site, the way back."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect

from tests.api.conftest import Service
from tests.api.test_single_sign_on import CLIENT, OpenId
from tests.console.conftest import Visitor


@pytest.fixture(scope="module")
def provider() -> Iterator[OpenId]:
    running = OpenId()
    # Another site than the console's 127.0.0.1: what browsers keep back between sites is kept back here too.
    running.url = f"http://localhost:{running.port}"
    running.start()
    yield running
    running.stop()


@pytest.fixture(scope="module")
def lotgate(provider: OpenId, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    running = Service(
        tmp_path_factory.mktemp("sso-browser"), oidc_issuer=provider.url, oidc_audience=CLIENT, oidc_client_id=CLIENT,
        oidc_client_secret="any", oidc_grants="quality-lyon = inspect, hold, submit @ LYON; it = admin",
    )  # fmt: skip
    running.start()
    yield running
    running.stop()


def test_somebody_signs_in_with_the_link_and_comes_back_to_the_page_that_was_wanted(
    lotgate: Service, provider: OpenId, browser: Browser
) -> None:
    context = browser.new_context()
    try:
        person = Visitor(context.new_page(), lotgate)
        page = person.open("/console/system")
        expect(page.locator("h1")).to_have_text("Sign in")
        assert person.complaints == []
        page.get_by_role("link", name="Sign in with your account").click()
        expect(page.locator("h1")).to_have_text("Authorize Client")
        assert page.url.startswith(provider.url)
        page.locator("input[name=sub]").fill("root")
        page.get_by_role("button", name="Authorize", exact=True).click()
        expect(page.get_by_text("sso:root").first).to_be_visible()
        assert page.url == lotgate.url + "/console/system"
        person.complaints.clear()  # of the provider's page, whose style sheets are elsewhere
        [session] = [cookie for cookie in context.cookies() if cookie["name"] == "lotgate_session"]
        assert (session["httpOnly"], session["sameSite"]) == (True, "Strict")
        page.get_by_role("button", name="Sign out").click()
        expect(page.locator("h1")).to_have_text("Sign in")
        assert person.complaints == []
    finally:
        context.close()


def test_a_foreign_link_in_another_tab_does_not_end_the_sign_in(
    lotgate: Service, provider: OpenId, browser: Browser
) -> None:
    context = browser.new_context()
    try:
        page, other = context.new_page(), context.new_page()
        page.goto(lotgate.url + "/console/login/sso?next=/console/tasks")
        other.goto(lotgate.url + "/console/login/sso/back?state=x&code=1")
        expect(other.get_by_role("alert")).to_contain_text("was not begun here")
        page.locator("input[name=sub]").fill("root")
        page.get_by_role("button", name="Authorize", exact=True).click()
        page.wait_for_url(lotgate.url + "/console/tasks")
        expect(page.get_by_text("sso:root").first).to_be_visible()
    finally:
        context.close()
