"""A real OpenID Connect provider, its own process: tokens as bearers, keys that rotate, people at the console."""

import asyncio
import base64
import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from api.access import KeyRing
from api.cli.main import main
from api.sessions import SessionRing, by_https
from api.single_sign_on import NotSignedIn, SingleSignOn
from api.tokens import FLOOR_SECONDS, tokens_of
from engine.clock import system_clock
from engine.people import read_keys
from engine.sessions import Sessions
from engine.settings import load_settings
from tests.api.conftest import Service, free_port
from tests.databases import new_store
from tests.installation import PLAIN, START_SECONDS

CLIENT = "lotgate-console"
PEOPLE = {"alice": ["quality-lyon"], "root": ["it"], "eve": ["visitors"]}


class OpenId:
    """The provider's process. Each start has a new signing key."""

    def __init__(self) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        people = [f"--user-claims={json.dumps({'sub': name, 'groups': groups})}" for name, groups in PEOPLE.items()]
        command = [sys.executable, "-m", "oidc_provider_mock", "--port", str(self.port), *people]
        self.process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, "PYTHONWARNINGS": "ignore"}
        )
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                httpx.get(self.url + "/jwks", timeout=2, verify=PLAIN)
                return
            except httpx.TransportError:
                time.sleep(0.05)
        raise AssertionError("the provider did not start")

    def stop(self) -> None:
        self.process.kill()
        self.process.wait(10)

    def consent(self, there: str, name: str) -> str:
        """What somebody does at the provider; gives the address that the browser is sent back to."""
        answer = httpx.post(there, data={"sub": name} if name else {"action": "deny"}, timeout=10)
        assert answer.status_code == 302, answer.text
        return answer.headers["location"]

    def token(self, name: str, client: str = CLIENT) -> str:
        """A signed token, by the code flow of somebody else's client."""
        back = "http://127.0.0.1/back"
        there = f"{self.url}/oauth2/authorize?response_type=code&scope=openid&client_id={client}&redirect_uri={back}"
        code = parse_qs(urlsplit(self.consent(there, name)).query)["code"][0]
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": back}
        asked = httpx.post(self.url + "/oauth2/token", data=form, auth=(client, "any"), timeout=10)
        return str(asked.json()["id_token"])


@pytest.fixture(scope="module")
def provider() -> Iterator[OpenId]:
    running = OpenId()
    running.start()
    yield running
    running.stop()


@pytest.fixture(scope="module")
def lotgate(provider: OpenId, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    running = Service(
        tmp_path_factory.mktemp("sso"), oidc_issuer=provider.url, oidc_audience=CLIENT, oidc_client_id=CLIENT,
        oidc_client_secret="a secret: +%&", oidc_grants="quality-lyon = inspect, hold, submit @ LYON; it = admin",
    )  # fmt: skip
    running.start()
    yield running
    running.stop()


def test_a_token_opens_what_its_groups_are_granted(
    lotgate: Service, provider: OpenId, receipt: Callable[..., dict[str, Any]]
) -> None:
    with lotgate.client(provider.token("alice")) as alice:
        event = receipt("by-token", plant="LYON")
        assert alice.post("/v1/events", json=event).status_code == 201
        assert alice.get("/v1/lots?plant=LYON").status_code == 200
        assert alice.get("/v1/lots").status_code == 403
        assert alice.post("/v1/events", json=receipt("elsewhere", plant="PARIS")).status_code == 403
        data = {"hold": "H", "reason": {"code": "SUSPECT"}}
        path = f"/v1/lots/{event['subject']}/hold"
        assert alice.post(path, json=data, headers={"Idempotency-Key": "1"}).status_code == 201
        refused = alice.post(f"/v1/lots/{event['subject']}/release", json={}, headers={"Idempotency-Key": "2"})
        assert refused.status_code == 403
    journal = lotgate.http.get(f"/v1/lots/{event['subject']}/journal").json()["data"]
    assert {entry["principal"] for entry in journal} == {"sso:alice"}
    assert journal[-1]["source"] == "api/sso:alice"


def test_strangers_to_the_mapping_and_tokens_for_others_open_nothing(lotgate: Service, provider: OpenId) -> None:
    for token in (provider.token("eve"), provider.token("root", client="warehouse")):
        with lotgate.client(token) as caller:
            answer = caller.get("/v1/lots")
            assert (answer.status_code, answer.json()["type"]) == (401, "/problems/unauthenticated")
    header = {"Authorization": "", "X-API-Key": provider.token("root")}
    assert httpx.get(lotgate.url + "/v1/lots", headers=header).status_code == 401, "a token is a bearer's, not a key"


def begun(lotgate: Service, onward: str = "/console") -> tuple[httpx.Client, str]:
    browser = httpx.Client(base_url=lotgate.url, timeout=20)
    assert f"/console/login/sso?next={onward.replace('/', '%2F')}" in browser.get("/console/login", params={"next": onward}).text
    answer = browser.get("/console/login/sso", params={"next": onward})
    assert answer.status_code == 303, answer.text
    cookie = answer.headers["set-cookie"]
    assert {"HttpOnly", "SameSite=Lax", "Path=/console/login/sso"} <= set(cookie.split("; "))
    return browser, answer.headers["location"]


def test_somebody_signs_in_with_the_provider_and_an_administrator_sees_and_ends_it(
    lotgate: Service, provider: OpenId, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    browser, there = begun(lotgate, "/console/system")
    asked = {name: value[0] for name, value in parse_qs(urlsplit(there).query).items()}
    kept = json.loads(base64.urlsafe_b64decode(browser.cookies["lotgate_sso"] + "=="))
    digest = hashlib.sha256(kept["verifier"].encode()).digest()
    assert asked["code_challenge"] == base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
    assert (asked["code_challenge_method"], asked["response_type"]) == ("S256", "code")
    assert (asked["state"], asked["nonce"]) == (kept["state"], kept["nonce"])
    answer = browser.get(provider.consent(there, "root"))
    assert (answer.status_code, answer.headers["location"]) == (303, "/console/system")
    page = browser.get("/console/system")
    assert page.status_code == 200
    assert "sso:root" in page.text
    assert httpx.get(lotgate.url + "/v1/lots", cookies=dict(browser.cookies)).status_code == 401
    monkeypatch.setenv("LOTGATE_HOME", str(lotgate.home))
    monkeypatch.chdir(lotgate.home)
    assert main(["keys", "list"]) == 0
    [line] = [line for line in capsys.readouterr().out.splitlines() if "sso:root" in line]
    assert main(["keys", "revoke", line.split()[0]]) == 0
    deadline = time.monotonic() + 20
    while browser.get("/console/system").status_code == 200:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_an_answer_counts_once_for_the_browser_that_asked(lotgate: Service, provider: OpenId) -> None:
    browser, there = begun(lotgate)
    back = provider.consent(there, "alice")
    other, _ = begun(lotgate)
    with httpx.Client(base_url=lotgate.url, timeout=20) as stranger:
        for client, address, words in (
            (stranger, back, "was not begun here"),
            (other, back, "was not begun here"),
            (browser, back.replace("state=", "state=x"), "was not begun here"),
            (browser, back + "&iss=https%3A%2F%2Fevil.example", "was not begun here|another provider"),
        ):
            kept = dict(browser.cookies)
            answer = client.get(address)
            # Only an answer to what was begun here ends it: a link that somebody else made does not.
            ended = "set-cookie" in answer.headers
            assert ended == ("&iss=" in address), answer.headers
            assert answer.status_code == 403
            assert any(part in answer.text for part in words.split("|")), answer.text
            assert "lotgate_session" not in client.cookies
            if client is browser and ended:
                client.cookies.update(kept)
    answer = browser.get(back)
    assert (answer.status_code, answer.headers["location"]) == (303, "/console")
    again = browser.get(back)
    assert again.status_code == 403
    assert "did not confirm the sign-in" in again.text


def test_a_link_that_somebody_else_made_does_not_end_a_sign_in_that_is_under_way(lotgate: Service, provider: OpenId) -> None:
    browser, there = begun(lotgate, "/console/tasks")
    back = provider.consent(there, "root")
    for link in ("state=x", "state=x&code=1", "code=1", "", "state=%00", "error=access_denied&state="):
        answer = browser.get(f"/console/login/sso/back?{link}")
        assert answer.status_code == 403
        assert "lotgate_sso" in browser.cookies
    assert browser.get(back).headers["location"] == "/console/tasks"


def test_cookies_are_for_https_where_browsers_come_by_https_with_a_key_as_with_a_provider(lotgate: Service) -> None:
    for headers, secure in (({}, False), ({"X-Forwarded-Proto": "https"}, True), ({"X-Forwarded-Proto": "http"}, False)):
        with httpx.Client(base_url=lotgate.url, timeout=20, headers=headers) as browser:
            by_key = browser.post("/console/login", data={"key": lotgate.key}).headers["set-cookie"]
            by_provider = browser.get("/console/login/sso").headers["set-cookie"]
        assert [cookie.endswith("; Secure") for cookie in (by_key, by_provider)] == [secure, secure]
    assert by_https({}, "https://lotgate.plant.example")
    assert not by_https({}, "http://127.0.0.1:8000")


def test_a_key_on_which_no_session_came_to_stand_is_taken_back(
    lotgate: Service, provider: OpenId, tmp_path: Path
) -> None:
    settings = load_settings({
        "LOTGATE_HOME": str(tmp_path), "LOTGATE_OIDC_ISSUER": provider.url, "LOTGATE_OIDC_AUDIENCE": CLIENT,
        "LOTGATE_OIDC_CLIENT_ID": CLIENT, "LOTGATE_OIDC_CLIENT_SECRET": "any", "LOTGATE_OIDC_GRANTS": "it = hold",
    })  # fmt: skip
    store = new_store(tmp_path)
    # A ring that has not yet heard of the new key, as another process may for a moment.
    keys, deaf = KeyRing(lambda: read_keys(store, system_clock)), KeyRing(list)
    tokens = tokens_of(settings)
    assert tokens is not None
    sso = SingleSignOn(settings, tokens, keys, SessionRing(Sessions(store, system_clock), deaf), store, system_clock)

    async def sign_in() -> None:
        await tokens.refresh()
        there, kept = await sso.begin("/console")
        answer = {name: value[0] for name, value in parse_qs(urlsplit(provider.consent(there, "root")).query).items()}
        with pytest.raises(NotSignedIn, match="could not be completed"):
            await sso.finish(kept, answer)

    asyncio.run(sign_in())
    assert read_keys(store, system_clock) == []
    with store.reads.connect() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM api_keys WHERE revoked_at IS NOT NULL").scalar() == 1
    store.close()


def test_whoever_refuses_or_was_granted_nothing_is_told_so(lotgate: Service, provider: OpenId) -> None:
    browser, there = begun(lotgate)
    assert "nothing was granted to you here" in browser.get(provider.consent(there, "eve")).text
    browser, there = begun(lotgate)
    # This provider forgets the state when somebody refuses; RFC 6749, 4.1.2.1, has it sent.
    [state] = parse_qs(urlsplit(there).query)["state"]
    assert "did not sign you in" in browser.get(f"{provider.consent(there, '')}&state={state}").text
    browser, there = begun(lotgate)
    replaced = provider.consent(there.replace("nonce=", "nonce=x"), "alice")
    assert "belongs to another sign-in" in browser.get(replaced).text
    for cookie in ("x", "e30", "W10", "%%%", "eyJzdGF0ZSI6IjEifQ"):
        strange = httpx.get(lotgate.url + "/console/login/sso/back?code=1&state=1", cookies={"lotgate_sso": cookie})
        assert strange.status_code == 403


def test_a_key_that_the_provider_changed_is_learned_and_its_absence_locks_nobody_out(
    lotgate: Service, provider: OpenId
) -> None:
    before = provider.token("root")
    provider.stop()
    with lotgate.client(before) as caller:
        assert caller.get("/v1/lots").status_code == 200
        assert lotgate.http.get("/v1/lots").status_code == 200
        provider.start()
        with lotgate.client(provider.token("root")) as renewed:
            deadline = time.monotonic() + FLOOR_SECONDS + 20
            while renewed.get("/v1/lots").status_code != 200:
                assert time.monotonic() < deadline
                time.sleep(0.2)
        assert caller.get("/v1/lots").status_code == 401, "what the old key signed is over"
