from __future__ import annotations

import io
import time

import pytest

from tests import rule
from watchword.cli.explain import FAILED, PASSED, SKIPPED, Evidence, check_token, explain_reason
from watchword.clock import system_clock
from watchword.protocol import jose
from watchword.protocol.access_token import build_header, parse_access_token
from watchword.protocol.jwks import build_jwks, parse_jwks

ISSUER = "http://127.0.0.1:8020"
KEY = jose.generate_private_key("ES256")
KEYS = parse_jwks(build_jwks([KEY.public_jwk]))
KID = KEY.public_jwk["kid"]
ACTIVE = {"client_id": "reader-1", "state": "active"}


def _token(*, key=KEY, kid=KID, **claims):
    now = int(time.time())
    base = {
        "iss": ISSUER,
        "sub": "reader-1",
        "client_id": "reader-1",
        "aud": "my-api",
        "scope": "read:data",
        "iat": now,
        "exp": now + 600,
        "jti": "j1",
    }
    return jose.build_compact(build_header(algorithm="ES256", kid=kid), {**base, **claims}, key.sign)


def _results(text, **evidence):
    known = {"keys": KEYS, "agent": ACTIVE, "audiences": frozenset({"my-api"}), **evidence}
    token = parse_access_token(text)
    checks = check_token(token, jose.unverified_claims(token), Evidence(issuer=ISSUER, now=system_clock(), **known))
    return {check.name: check for check in checks}


def _failed(text, **evidence):
    return [name for name, check in _results(text, **evidence).items() if check.result == FAILED]


def test_a_good_token_passes_every_check():
    results = _results(_token(), audience="my-api", scopes=("read:data",))
    assert {name: check.result for name, check in results.items()} == dict.fromkeys(
        ("form", "issuer", "signature", "audience", "time", "scope", "agent"), PASSED
    )


@rule("DR-16")
@pytest.mark.parametrize(
    ("claims", "evidence", "failed"),
    [
        ({"iss": "https://other.example"}, {"keys": None}, "issuer"),
        ({}, {"audience": "billing"}, "audience"),
        ({"aud": ["x", "y"]}, {}, "audience"),
        ({"exp": 1}, {}, "time"),
        ({"iat": 4102444800}, {}, "time"),
        ({"exp": "soon"}, {}, "time"),
        ({}, {"scopes": ("read:data", "write:data")}, "scope"),
        ({}, {"agent": None}, "agent"),
        ({}, {"agent": {**ACTIVE, "state": "suspended"}}, "agent"),
        ({}, {"agent": {**ACTIVE, "expires_at": "2020-01-01T00:00:00Z"}}, "agent"),
    ],
)
def test_a_token_fails_exactly_the_check_it_should_and_is_told_what_to_do(claims, evidence, failed):
    text = _token(**claims)
    assert _failed(text, **evidence) == [failed]
    assert _results(text, **evidence)[failed].remedy


@pytest.mark.parametrize(
    "make",
    [
        lambda: _token(key=jose.generate_private_key("ES256")),
        lambda: _token(kid="another"),
        lambda: _with_payload_of(_token(), _token(scope="write:data")),
    ],
    ids=["other_key", "unknown_kid", "altered"],
)
def test_a_signature_that_is_not_by_a_published_key_fails(make):
    assert _failed(make()) == ["signature"]


def _with_payload_of(token, other):
    header, _, signature = token.split(".")
    return f"{header}.{other.split('.')[1]}.{signature}"


def test_the_keys_of_a_foreign_issuer_are_not_asked_for():
    assert _results(_token(iss="https://other.example"), keys=None)["signature"].result == SKIPPED


def test_a_reason_is_explained_with_what_the_event_tells():
    denied = {"outcome": "denied", "reason": "grant.unknown", "details": {"supported": "client_credentials"}}
    assert explain_reason(denied) == "This server does not know this grant_type. It knows: client_credentials."
    assert "<supported>" in explain_reason({**denied, "details": {}})
    assert explain_reason({"outcome": "denied", "reason": "client.secret"}).startswith("Client authentication failed")


@rule("A16")
def test_inspecting_shows_the_claims_and_never_the_signature(cli):
    token = _token()
    ran = cli("token", "inspect", token, "-o", "json")
    shown = ran.json()
    assert ran.code == 0
    assert shown["verified"] is False
    assert shown["header"] == {"alg": "ES256", "kid": KID, "typ": "at+jwt"}
    assert shown["claims"]["client_id"] == "reader-1"
    assert shown["times"]["expires"].endswith("(in 10 min)") or "in 9 min" in shown["times"]["expires"]
    assert token.split(".")[2] not in ran.out + ran.err


@rule("A16")
def test_inspecting_reads_standard_input_and_says_that_nothing_is_verified(cli, monkeypatch):
    token = _token()
    monkeypatch.setattr("sys.stdin", io.StringIO(f"Authorization: Bearer {token}\n"))
    ran = cli("token", "inspect", "-")
    assert ran.code == 0
    assert "NOT VERIFIED" in ran.err
    assert "reader-1" in ran.out
    assert token.split(".")[2] not in ran.out + ran.err


def test_inspecting_asks_nobody_and_shows_odd_tokens_too(cli):
    odd = _token(exp=True, iat="yesterday", aud={"x": None})
    ran = cli("token", "inspect", odd, "-o", "json")
    assert ran.json()["times"] == {"issued": "'yesterday' is no time", "expires": "True is no time"}


@pytest.mark.parametrize("text", ["x", "a.b.c", "a.b", "wws_secret", "\u00e9.\u00e9.\u00e9", "bm8.bm8.bm8"])
def test_what_is_no_token_is_refused_without_repeating_it(cli, text):
    ran = cli("token", "inspect", text)
    assert ran.code == 2
    assert "wws_secret" not in ran.err


def test_a_token_command_without_credentials_says_what_was_looked_for(cli):
    for arguments in (("token",), ("token", "get"), ("token", "--scope", "read:data")):
        ran = cli(*arguments)
        assert (ran.code, ran.out) == (4, "")
        assert "WATCHWORD_CLIENT_SECRET" in ran.err


def test_a_profile_that_is_not_there_is_not_found(cli):
    for arguments in (("token", "none"), ("token", "get", "none"), ("token", "--profile", "none")):
        ran = cli(*arguments)
        assert (ran.code, ran.out) == (6, "")


def test_the_keys_of_a_server_that_does_not_run_cannot_be_had(admin):
    ran = admin("token", "explain", _token(iss="http://127.0.0.1:18020"))
    assert (ran.code, ran.out) == (7, "")
    assert "http://127.0.0.1:18020/.well-known/oauth-authorization-server" in ran.err


async def _no_pause(_seconds: float) -> None: ...


def test_a_server_that_is_not_there_is_unreachable(cli, monkeypatch):
    monkeypatch.setenv("WATCHWORD_ISSUER", "http://127.0.0.1:9")
    monkeypatch.setenv("WATCHWORD_CLIENT_ID", "a")
    monkeypatch.setenv("WATCHWORD_CLIENT_SECRET", "wws_very-secret")
    monkeypatch.setattr("asyncio.sleep", _no_pause)
    ran = cli("token")
    assert (ran.code, ran.out) == (7, "")
    assert "wws_very-secret" not in ran.err
