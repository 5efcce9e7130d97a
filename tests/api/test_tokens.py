"""Tokens of a provider: which are believed, whom they make of somebody, and how often the provider is asked."""

import asyncio
import base64
import hashlib
import hmac
import http.server
import json
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from hypothesis import given, settings
from hypothesis import strategies as st

from api.grants import read_grants
from api.tokens import FLOOR_SECONDS, MOST_WAITING, Tokens, tokens_of
from engine.errors import SettingInvalid
from engine.settings import load_settings

ISSUER, AUDIENCE = "https://id.example", "lotgate"
GRANTS = "quality-lyon = inspect, hold @ LYON; lyon-leads = release @ LYON; paris = release @ PARIS; it = admin"
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC = ec.generate_private_key(ec.SECP256R1())
SMALL = rsa.generate_private_key(public_exponent=65537, key_size=1024)
OTHER = rsa.generate_private_key(public_exponent=65537, key_size=2048)


def document(key: Any, kid: str, **more: str) -> dict[str, Any]:
    algorithm = jwt.algorithms.ECAlgorithm if isinstance(key, ec.EllipticCurvePrivateKey) else jwt.algorithms.RSAAlgorithm
    made: dict[str, Any] = algorithm.to_jwk(key.public_key(), as_dict=True)
    return {**made, "kid": kid, **more}


def made(**changes: Any) -> dict[str, Any]:
    claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": "alice", "exp": int(time.time()) + 600, "groups": ["quality-lyon"]}
    return {name: value for name, value in {**claims, **changes}.items() if value is not None}


def signed(claims: dict[str, Any], key: Any = RSA, algorithm: str = "RS256", kid: str | None = "r") -> bytes:
    return jwt.encode(claims, key, algorithm, headers={"kid": kid} if kid else {}).encode()


def forged(header: dict[str, Any], claims: dict[str, Any], signature: bytes = b"") -> bytes:
    parts = (json.dumps(header).encode(), json.dumps(claims).encode(), signature)
    return b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in parts)


def weakly_signed() -> bytes:
    head = forged({"alg": "RS256", "kid": "small"}, made()).rsplit(b".", 1)[0]
    mark = SMALL.sign(head, padding.PKCS1v15(), hashes.SHA256())
    return head + b"." + base64.urlsafe_b64encode(mark).rstrip(b"=")


@pytest.fixture
def known() -> Tokens:
    tokens = Tokens(ISSUER, AUDIENCE, read_grants(GRANTS, "groups", "sub"))
    tokens.take([document(RSA, "r"), document(EC, "e"), document(SMALL, "small"), document(OTHER, "enc", use="enc")])
    return tokens


@pytest.mark.parametrize(("key", "algorithm", "kid"), [(RSA, "RS256", "r"), (EC, "ES256", "e")])
def test_a_token_of_the_provider_opens_what_was_granted(known: Tokens, key: Any, algorithm: str, kid: str) -> None:
    principal = known.find(signed(made(), key, algorithm, kid))
    assert principal is not None
    assert (principal.name, principal.roles, principal.plants) == ("sso:alice", {"inspect", "hold"}, {"LYON"})


HOSTILE = {
    "over": signed(made(exp=int(time.time()) - 60)),
    "not yet": signed(made(nbf=int(time.time()) + 600)),
    "without an end": signed(made(exp=None)),
    "for somebody else": signed(made(aud="warehouse")),
    "for nobody": signed(made(aud=None)),
    "of another provider": signed(made(iss="https://id.example.evil")),
    "of no provider": signed(made(iss=None)),
    "of nobody": signed(made(sub=None)),
    "signed by somebody else": signed(made(), OTHER),
    "signed by a key for encryption": signed(made(), OTHER, kid="enc"),
    "signed by a weak key": weakly_signed(),
    "with an algorithm not allowed": signed(made(), RSA, "RS512"),
    "of another padding": signed(made(), RSA, "PS256"),
    "unsigned": forged({"alg": "none", "kid": "r"}, made()),
    "unsigned, in capitals": forged({"alg": "NONE", "kid": "r"}, made()),
    "without an algorithm": forged({"kid": "r"}, made()),
    "with an extension nobody knows": jwt.encode(made(), RSA, "RS256", headers={"kid": "r", "crit": ["x"], "x": 1}).encode(),
    "with a key of its own": jwt.encode(made(), OTHER, "RS256", headers={"kid": "o", "jwk": document(OTHER, "o")}).encode(),
    "cut": signed(made())[:-1],
    "twice": signed(made()) + b"." + signed(made()),
    "too long": signed(made(note="x" * 20_000)),
    "nested": b".".join([base64.urlsafe_b64encode(b'{"kid":' + b"[" * 11_000).rstrip(b"="), b"e30", b"AA"]),
    "without a grant": signed(made(groups=["visitors"])),
    "with a name for the log": signed(made(sub="alice\nadmin")),
    "with a name too long": signed(made(sub="a" * 61)),
}  # fmt: skip


@pytest.mark.parametrize("why", HOSTILE)
def test_nothing_else_opens_anything(known: Tokens, why: str) -> None:
    assert known.find(HOSTILE[why]) is None


def test_the_public_key_is_no_shared_secret(known: Tokens) -> None:
    """The oldest trick: HS256 with the public key, which everybody has, as the secret."""
    public = RSA.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    head = forged({"alg": "HS256", "kid": "r"}, made()).rsplit(b".", 1)[0]
    sent = head + b"." + base64.urlsafe_b64encode(hmac.new(public, head, hashlib.sha256).digest()).rstrip(b"=")
    assert known.find(sent) is None


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=300), st.integers(0, 400))
def test_no_bytes_break_it(noise: bytes, place: int) -> None:
    tokens = Tokens(ISSUER, AUDIENCE, read_grants(GRANTS, "groups", "sub"))
    tokens.take([document(RSA, "r")])
    good = signed(made())
    for sent in (noise, good[:place] + noise + good[place:], b"." + noise + b"."):
        if sent != good:
            assert tokens.find(sent) is None
        tokens.may_be_new(sent)


def test_a_verified_token_ends_when_it_says_and_when_its_key_is_withdrawn() -> None:
    now = [time.time()]
    tokens = Tokens(ISSUER, AUDIENCE, read_grants(GRANTS, "groups", "sub"), wall=lambda: now[0])
    tokens.take([document(RSA, "r")])
    token = signed(made())
    assert tokens.find(token) is tokens.find(token) is not None
    now[0] += 700
    assert tokens.find(token) is None
    now[0] -= 700
    assert tokens.find(token) is not None
    assert tokens.find(signed(made(), kid=None)) is not None, "where there is one key, it need not be named"
    tokens.take([document(EC, "e"), document(OTHER, "o")])
    assert tokens.find(token) is None
    assert tokens.find(signed(made(), OTHER, kid=None)) is None
    assert tokens.may_be_new(token)


def test_a_role_given_in_one_plant_is_never_had_in_another() -> None:
    grants = read_grants(GRANTS, "realm_access.roles", "sub")

    def of(*groups: str) -> Any:
        return grants.principal({"sub": "a", "realm_access": {"roles": list(groups)}})

    assert (of("lyon-leads", "quality-lyon").roles, of("lyon-leads").plants) == ({"inspect", "hold", "release"}, {"LYON"})
    assert (of("quality-lyon", "paris").roles, of("paris", "quality-lyon").plants) == ({"inspect", "hold"}, {"LYON"})
    assert of("it", "quality-lyon").roles == {"inspect", "hold"}
    assert of() is None
    assert grants.principal({"sub": "a", "realm_access": "it"}) is None
    assert grants.principal({"sub": "", "realm_access": {"roles": ["it"]}}) is None
    named = read_grants("it = admin", "https://plant.example/groups", "oid")
    assert named.principal({"oid": "7", "https://plant.example/groups": "it"}).name == "sso:7"  # type: ignore[union-attr]


class Provider:
    """A provider on a real socket: discovery and signing keys, counted; told to fail or to answer drop by drop."""

    def __init__(self) -> None:
        self.asked = 0
        self.fails = self.drips = False
        #: Where it says that its keys are; empty: where they are.
        self.keys_at = ""
        provider = self

        class Answer(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                keys = self.path == "/keys"
                provider.asked += not keys
                self.send_response(500 if provider.fails else 200)
                said = {"keys": [document(RSA, "r")]} if keys else {"issuer": provider.issuer, "jwks_uri": provider.keys_at or provider.issuer + "/keys"}
                body = json.dumps(said).encode()
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                with suppress(OSError):
                    for at in range(len(body)):
                        self.wfile.write(body[at : at + 1])
                        time.sleep(0.05 if provider.drips else 0)

            def log_message(self, *_: Any) -> None: ...

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        self.issuer = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def provider() -> Iterator[Provider]:
    one = Provider()
    yield one
    one.server.shutdown()
    one.server.server_close()


def test_invented_key_names_make_nobody_ask_the_provider_again_and_again(provider: Provider) -> None:
    now = [1000.0]
    tokens = Tokens(provider.issuer, AUDIENCE, read_grants(GRANTS, "groups", "sub"), clock=lambda: now[0])

    async def rounds() -> None:
        for number in (1, 2, 3):
            provider.fails = number == 3
            await asyncio.gather(*(tokens.refresh() for _ in range(50)))
            assert provider.asked == number
            now[0] += FLOOR_SECONDS

    asyncio.run(rounds())
    token = signed(made(iss=provider.issuer))
    assert tokens.find(token) is not None, "what was known stays while the provider is away"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**40), 10**40) | st.floats(allow_nan=False) | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["kty", "kid", "n", "e", "alg"]), inner),
    max_leaves=6,
)


@settings(max_examples=150, deadline=None)
@given(field=st.sampled_from(["kid", "kty", "use", "alg", "n", "e", "crv", "x", "y", "key_ops"]), value=JSON, ec_key=st.booleans())
def test_no_odd_key_keeps_the_good_ones_from_being_learned(field: str, value: Any, ec_key: bool) -> None:
    odd = {**(document(EC, "e") if ec_key else document(OTHER, "odd")), field: value}
    tokens = Tokens(ISSUER, AUDIENCE, read_grants(GRANTS, "groups", "sub"))
    tokens.take([odd, document(RSA, "r")])
    assert tokens.find(signed(made())) is not None


@pytest.mark.parametrize("where", ["http://[", "http://[::1", "//x", "javascript:1", "https://id.example:99999/keys"])
def test_an_odd_address_from_the_provider_ends_nothing(provider: Provider, where: str) -> None:
    now = [1000.0]
    tokens = Tokens(provider.issuer, AUDIENCE, read_grants(GRANTS, "groups", "sub"), clock=lambda: now[0])
    provider.keys_at = where
    asyncio.run(tokens.refresh())
    assert tokens.find(signed(made(iss=provider.issuer))) is None
    provider.keys_at, now[0] = "", now[0] + FLOOR_SECONDS
    asyncio.run(tokens.refresh())
    assert tokens.find(signed(made(iss=provider.issuer))) is not None


def test_the_token_of_a_sign_in_is_no_bearer(known: Tokens) -> None:
    assert known.find(signed(made(nonce="n"))) is None


def test_strangers_wait_for_the_provider_only_so_many(provider: Provider) -> None:
    provider.drips = True
    tokens = Tokens(provider.issuer, AUDIENCE, read_grants(GRANTS, "groups", "sub"), patience_seconds=0.5)

    async def crowd() -> float:
        began = time.monotonic()
        asking = [asyncio.create_task(tokens.refresh()) for _ in range(MOST_WAITING + 50)]
        done, _ = await asyncio.wait(asking, timeout=0.2)
        assert len(done) == 50, "they are refused at once"
        await asyncio.gather(*asking)
        return time.monotonic() - began

    assert asyncio.run(crowd()) < 1.5, "and nobody of the others starts again when the first has waited"
    assert provider.asked == 1


def test_a_provider_that_answers_drop_by_drop_is_not_waited_for(provider: Provider) -> None:
    provider.drips = True
    tokens = Tokens(provider.issuer, AUDIENCE, read_grants(GRANTS, "groups", "sub"), patience_seconds=0.5)
    began = time.monotonic()
    asyncio.run(tokens.refresh())
    assert time.monotonic() - began < 2.0
    assert provider.asked == 1
    assert tokens.find(signed(made(iss=provider.issuer))) is None


@pytest.mark.parametrize(
    ("settings_", "message"),
    [
        ({"OIDC_ISSUER": "http://id.example"}, "expected https://…, or http:// on this machine"),
        ({"OIDC_ISSUER": "https://id.example?x=1"}, "expected https://…"),
        ({"OIDC_ISSUER": "https://["}, "expected https://…"),
        ({"PUBLIC_URL": "lotgate.example"}, "expected an address such as https://lotgate.example"),
        ({"PUBLIC_URL": "javascript:alert(1)"}, "expected an address"),
        ({"PUBLIC_URL": "https://lotgate.example?a=b"}, "expected an address"),
        ({"PUBLIC_URL": "https://["}, "expected an address"),
        ({"OIDC_ISSUER": "https://id.example"}, "LOTGATE_OIDC_GRANTS is not set"),
        ({"OIDC_GRANTS": "it = king"}, "gives the role 'king'; there are read, submit,"),
        ({"OIDC_GRANTS": "it"}, "has 'it'; expected value = role, role @ plant"),
        ({"OIDC_GRANTS": "it = read @"}, "has 'it = read @'; expected"),
    ],
)
def test_a_wrong_setting_says_what_is_expected(settings_: dict[str, str], message: str) -> None:
    with pytest.raises(SettingInvalid) as refused:
        tokens_of(load_settings({f"LOTGATE_{name}": value for name, value in settings_.items()}))
    assert message in refused.value.detail
