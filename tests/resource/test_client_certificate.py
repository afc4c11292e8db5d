"""Tokens bound to a certificate at a protected resource: worth nothing without it, wherever it is told. RFC 8705 §3."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from types import SimpleNamespace

import pytest

from tests import rule
from tests.resource.issuers import Issuer
from tests.resource.test_guard import Application, ask
from watchword.asgi.peer import SHOWN, Shown
from watchword.errors import BadSettings, OAuthError
from watchword.protocol.challenge import parse_challenges
from watchword.protocol.confirmation import x5t_s256
from watchword.resource import FromConnection, FromProxy, Guard, Verifier
from watchword.testing.certificates import Authority, Held, new_key, self_signed
from watchword.testing.clock import FrozenClock

KEY = new_key()
MINE, RENEWED, OTHER = self_signed("a", key=KEY), self_signed("a", key=KEY), self_signed("a")
CHAINED = Authority("Middle", above=Authority()).issue()
PROXY = "10.0.0.1"
CNF = {"x5t#S256": x5t_s256(MINE.der)}
ISSUER = Issuer(FrozenClock())
TOKEN = ISSUER.token(cnf=CNF)


def over(held: Held | None) -> dict[str, object]:
    """Return what our own listeners tell of a connection."""
    return {"extensions": {SHOWN: Shown((held.der, *held.chain_der) if held else (), "")}}


def told(held: Held | None) -> dict[str, object]:
    """Return what the extension ``tls`` of ASGI tells."""
    chain = [held.pem.decode()] if held else []
    return {"extensions": {"tls": {"server_cert": None, "client_cert_chain": chain}}}


def passed(*helds: Held, peer: str = PROXY, name: str = "client-cert") -> dict[str, object]:
    values = [(name.encode(), b":" + b64encode(held.der) + b":") for held in helds]
    return {"client": (peer, 1), "headers": values}


def scope(token: str, more: Mapping[str, object], scheme: str = "Bearer") -> dict[str, object]:
    headers = [(b"authorization", f"{scheme} {token}".encode()), *more.get("headers", ())]  # type: ignore[misc]  # a list
    return {"type": "http", "method": "GET", "path": "/data", "raw_path": b"/data", **more, "headers": headers}


def outcome(verifier: Verifier, request: object) -> str:
    """Return the client that was let in, or the reason of the refusal."""
    try:
        return verifier.verify_sync(request).client_id  # type: ignore[arg-type]  # each kind of request
    except OAuthError as error:
        return error.reason


DIRECT = ISSUER.verifier(client_certificate=FromConnection())
BEHIND = ISSUER.verifier(client_certificate=FromProxy("rfc9440", trusted=["10.0.0.0/8"]))


@rule("R8705-3-03", "M9", "KF-67")
@pytest.mark.parametrize("tell", [over, told])
@pytest.mark.parametrize(
    ("held", "expected"),
    [
        (MINE, "reader-1"),
        (OTHER, "token.other_certificate"),
        (RENEWED, "token.other_certificate"),
        (None, "token.no_certificate"),
    ],
    ids=("mine", "other", "renewed", "none"),
)
def test_a_bound_token_goes_with_its_very_certificate(tell, held: Held | None, expected: str) -> None:  # type: ignore[no-untyped-def]  # two functions
    assert outcome(DIRECT, scope(TOKEN, tell(held))) == expected


@rule("R8705-3-03")
def test_the_first_certificate_is_the_callers_and_no_other() -> None:
    token = ISSUER.token(cnf={"x5t#S256": x5t_s256(CHAINED.chain_der[0])})
    assert outcome(DIRECT, scope(token, over(CHAINED))) == "token.other_certificate"


@rule("R8705-3-03", "M9")
def test_where_nobody_tells_the_certificate_a_bound_token_is_refused() -> None:
    for verifier in (ISSUER.verifier(), ISSUER.verifier(base_url="https://api.example")):
        assert outcome(verifier, scope(TOKEN, over(MINE))) == "token.confirmation"
    assert outcome(DIRECT, {"authorization": f"Bearer {TOKEN}"}) == "token.no_certificate"
    assert outcome(DIRECT, scope(TOKEN, {"extensions": None})) == "token.no_certificate"


def test_a_token_bound_to_a_certificate_is_a_bearer_token_by_its_scheme() -> None:
    assert outcome(DIRECT, scope(TOKEN, over(MINE), scheme="DPoP")) == "token.scheme"
    both = ISSUER.verifier(client_certificate=FromConnection(), base_url="https://api.example")
    assert outcome(both, scope(TOKEN, over(MINE), scheme="DPoP")) == "token.not_bound"
    assert outcome(both, scope(TOKEN, over(MINE))) == "reader-1"


@rule("M9")
def test_a_token_bound_to_both_needs_both() -> None:
    token = ISSUER.token(cnf={**CNF, "jkt": "A" * 43})
    both = ISSUER.verifier(client_certificate=FromConnection(), base_url="https://api.example")
    assert outcome(both, scope(token, over(MINE))) == "token.bound"
    assert outcome(both, scope(token, over(MINE), scheme="DPoP")) == "dpop.missing"
    assert outcome(both, scope(token, over(OTHER), scheme="DPoP")) == "token.other_certificate"
    assert outcome(DIRECT, scope(token, over(MINE))) == "token.no_proofs"


def test_a_remembered_token_needs_its_certificate_every_time() -> None:
    verifier = ISSUER.verifier(client_certificate=FromConnection())
    told_one = [outcome(verifier, scope(TOKEN, over(held))) for held in (MINE, OTHER, MINE, None)]
    assert told_one == ["reader-1", "token.other_certificate", "reader-1", "token.no_certificate"]


def test_a_bare_token_cannot_prove_anything() -> None:
    with pytest.raises(OAuthError) as caught:
        DIRECT.verify_token_sync(TOKEN)
    assert caught.value.reason == "token.confirmation"


def test_an_api_may_take_tokens_of_certificates_only() -> None:
    strict = ISSUER.verifier(client_certificate=FromConnection(), require_possession=True)
    assert outcome(strict, scope(ISSUER.token(), over(MINE))) == "token.unbound"
    assert outcome(strict, scope(TOKEN, over(MINE))) == "reader-1"


@rule("R8705-6.5-01", "R9440-2-01", "R9440-2-02", "M8", "KF-69")
@pytest.mark.parametrize(
    ("more", "expected"),
    [
        (passed(MINE), "reader-1"),
        (passed(MINE, peer="::ffff:10.0.0.1"), "reader-1"),
        (passed(OTHER), "token.other_certificate"),
        (passed(), "token.no_certificate"),
        (over(MINE), "token.no_certificate"),
        (passed(MINE, peer="192.0.2.1"), "certificate_header.untrusted"),
        (passed(MINE, peer=""), "certificate_header.untrusted"),
        (passed(MINE, MINE), "certificate_header.repeated"),
        (passed(MINE, name="x-ssl-client-cert"), "token.no_certificate"),
        ({"client": (PROXY, 1), "headers": [(b"client-cert", b64encode(MINE.der))]}, "certificate_header.syntax"),
    ],
    ids=[f"case{number}" for number in range(10)],
)
def test_behind_a_proxy_only_its_word_counts(more: dict[str, object], expected: str) -> None:
    assert outcome(BEHIND, scope(TOKEN, more)) == expected


def test_the_request_of_any_framework_tells_its_certificate() -> None:
    value = ":" + b64encode(MINE.der).decode() + ":"
    environ = {
        "wsgi.version": (1, 0),
        "HTTP_AUTHORIZATION": f"Bearer {TOKEN}",
        "HTTP_CLIENT_CERT": value,
        "REMOTE_ADDR": PROXY,
    }
    assert outcome(BEHIND, environ) == "reader-1"
    assert outcome(BEHIND, {**environ, "REMOTE_ADDR": "192.0.2.1"}) == "certificate_header.untrusted"
    headers = {"Authorization": f"Bearer {TOKEN}", "Client-Cert": value}
    assert outcome(BEHIND, SimpleNamespace(headers=headers, environ=environ)) == "reader-1"
    assert outcome(BEHIND, SimpleNamespace(headers=headers)) == "certificate_header.untrusted"
    starlette = SimpleNamespace(headers={"authorization": f"Bearer {TOKEN}"}, scope=scope(TOKEN, over(MINE)))
    assert outcome(DIRECT, starlette) == "reader-1"


@rule("R8705-3-03", "M9")
def test_the_guard_answers_401_and_lets_its_owner_through() -> None:
    guard = Guard(Application(), DIRECT)
    refused = ask(guard, "/data", ("authorization", f"Bearer {TOKEN}"))
    (challenge,) = parse_challenges(refused.headers["www-authenticate"])
    assert (refused.status, challenge.scheme.lower(), challenge.parameters["error"]) == (401, "bearer", "invalid_token")
    let_in = ask(guard, "/data", ("authorization", f"Bearer {TOKEN}"), **over(MINE))
    assert (let_in.status, let_in.body) == (200, b"reader-1")


@pytest.mark.parametrize(
    ("dialect", "trusted"), [("pem", ["10.0.0.1"]), ("rfc9440", []), ("rfc9440", ["here"]), ("rfc9440", "10.0.0.1")]
)
def test_a_proxy_has_a_dialect_and_an_address(dialect: str, trusted: list[str]) -> None:
    with pytest.raises(BadSettings) as caught:
        FromProxy(dialect, trusted=trusted)
    assert caught.value.reason == "verifier.client_certificate"
