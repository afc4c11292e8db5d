from __future__ import annotations

import copy
import json
import pickle
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qsl

import pytest

from tests import rule
from tests.client.world import AT_ONCE, ISSUER, AuthorizationServer, answer, form
from tests.vectors import key_for, load
from watchword.client.errors import LoginMisconfigured
from watchword.client.login import Login
from watchword.client.private_key_jwt import KeySource, PrivateKeyJwt
from watchword.protocol import names
from watchword.protocol.client_assertion import ALGORITHMS, check_client_assertion, parse_client_assertion
from watchword.protocol.private_keys import PrivateKey, to_pem
from watchword.testing.clock import FrozenClock

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
KEY = key_for("ES256")
VECTOR = load("rfc7515")["vectors"][1]
JWK = {**VECTOR["jwk"], "d": VECTOR["d"]}


def sent(credential: PrivateKeyJwt, now: datetime = NOW) -> dict[str, str]:
    fields: dict[str, str] = {}
    headers: dict[str, str] = {}
    credential.apply(fields, headers, issuer=ISSUER, now=now)
    assert headers == {}
    return fields


def file_of(text: str, directory: Path, mode: int = 0o600) -> Path:
    path = directory / "agent.pem"
    path.write_text(text)
    path.chmod(mode)
    return path


@rule("R10070-3-04", "R7523-2.2-01", "O21-2.4-02")
@pytest.mark.parametrize("algorithm", names.SIGNING_ALGORITHMS)
def test_what_is_sent_is_an_assertion_for_the_issuer_and_its_type(algorithm: str) -> None:
    key = key_for(algorithm)
    fields = sent(PrivateKeyJwt("writer", key))
    assert set(fields) == {"client_assertion", "client_assertion_type"}
    assert fields["client_assertion_type"] == "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
    assertion = parse_client_assertion(fields["client_assertion"])
    found = check_client_assertion(
        assertion, key=key.public_key(), audiences=frozenset({ISSUER}), algorithms=ALGORITHMS, now=NOW
    )
    assert (found.client_id, found.algorithm, found.is_typed, found.is_listed) == ("writer", algorithm, True, False)
    assert found.until - found.since == timedelta(seconds=60 + 30 + 30)


@pytest.mark.parametrize(
    "source", [KEY, JWK, json.dumps(JWK), to_pem(KEY), f"\n{to_pem(KEY)}"], ids=["key", "jwk", "json", "pem", "pem2"]
)
def test_a_key_may_come_as_what_one_has(source: KeySource) -> None:
    assert parse_client_assertion(sent(PrivateKeyJwt("writer", source))["client_assertion"]).kid == KEY.kid


def test_a_key_may_stand_in_a_file_by_its_name_or_its_path(tmp_path: Path) -> None:
    path = file_of(to_pem(KEY), tmp_path)
    for source in (path, str(path)):
        assert parse_client_assertion(sent(PrivateKeyJwt("writer", source))["client_assertion"]).kid == KEY.kid


@rule("Q6")
def test_a_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LoginMisconfigured) as caught:
        PrivateKeyJwt("writer", file_of(to_pem(KEY), tmp_path, 0o644))
    assert caught.value.reason == "file.mode"


def test_the_name_of_the_key_is_the_servers() -> None:
    assert parse_client_assertion(sent(PrivateKeyJwt("writer", KEY, kid="mine"))["client_assertion"]).kid == "mine"
    named = PrivateKeyJwt("writer", {**JWK, "kid": "own"})
    assert parse_client_assertion(sent(named)["client_assertion"]).kid == "own"


def test_an_rsa_key_signs_ps256_unless_it_is_told_otherwise() -> None:
    pem = to_pem(key_for("PS256"))
    assert parse_client_assertion(sent(PrivateKeyJwt("writer", pem))["client_assertion"]).algorithm == "PS256"
    told = PrivateKeyJwt("writer", pem, algorithm="RS256")
    assert parse_client_assertion(sent(told)["client_assertion"]).algorithm == "RS256"


@rule("Q7", "R7523-3-07")
def test_every_attempt_has_an_assertion_of_its_own_at_the_servers_time() -> None:
    server = AuthorizationServer()
    server.script.append(answer(503))
    login = Login(
        issuer=ISSUER, client=PrivateKeyJwt("writer", KEY), transport=server, clock=FrozenClock(NOW), retry=AT_ONCE
    )
    login.token(scope="read:data")
    assertions = [form(request)["client_assertion"] for request in server.token_requests]
    assert len(assertions) == len(set(assertions)) == 2


@pytest.mark.parametrize(
    ("source", "advice"),
    [
        ("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----", "only a public key"),
        ("{}", "only a public key"),
        ("-----BEGIN PRIVATE KEY-----\nhush\n-----END PRIVATE KEY-----", "neither PEM nor a private JWK"),
        ({**JWK, "alg": "hush"}, "not one for this key"),
    ],
)
def test_a_key_that_cannot_sign_says_why_and_not_what_it_is(source: KeySource, advice: str) -> None:
    with pytest.raises(LoginMisconfigured, match=advice) as caught:
        PrivateKeyJwt("writer", source)
    assert caught.value.reason == "credential.private_key"
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize("client_id", ["", "a\nb", "\x00"])
def test_a_client_has_a_name(client_id: str) -> None:
    with pytest.raises(LoginMisconfigured) as caught:
        PrivateKeyJwt(client_id, KEY)
    assert caught.value.reason == "credential.client_id"


@rule("Q6", "TRAP-24")
def test_the_key_does_not_leave() -> None:
    credential = PrivateKeyJwt("writer", to_pem(KEY))
    assert repr(credential) == f"PrivateKeyJwt(client_id='writer', kid='{KEY.kid}')"
    assert copy.deepcopy(credential) is credential
    with pytest.raises(TypeError):
        pickle.dumps(credential)
    assertion = sent(credential)["client_assertion"]
    assert credential.hide(f"the server said {assertion}") == "the server said [redacted]"
    assert dict(parse_qsl(f"x={credential.hide(assertion)}")) == {"x": "[redacted]"}


class Elsewhere:
    """A token or a service says what its key is, and signs: nothing else is asked of it."""

    def __init__(self, key: PrivateKey, **named: str) -> None:
        self.algorithm = key.algorithm
        self.public_jwk = {name: text for name, text in key.public_jwk.items() if name != "kid"} | named
        self.sign = key.sign


@rule("Q6")
def test_a_key_that_is_kept_elsewhere_signs_as_well() -> None:
    for key, kid in ((Elsewhere(KEY), KEY.kid), (Elsewhere(KEY, kid="own"), "own")):
        assertion = parse_client_assertion(sent(PrivateKeyJwt("writer", key))["client_assertion"])
        assert assertion.kid == kid
        check_client_assertion(
            assertion, key=KEY.public_key(), audiences=frozenset({ISSUER}), algorithms=ALGORITHMS, now=NOW
        )
    for wrong in (Elsewhere(KEY, crv="P-384"), Elsewhere(KEY, d="AAAA")):
        with pytest.raises(LoginMisconfigured) as caught:
            PrivateKeyJwt("writer", wrong)
        assert caught.value.reason == "credential.private_key"
    with pytest.raises(LoginMisconfigured, match="not one for this key"):
        PrivateKeyJwt("writer", Elsewhere(KEY), algorithm="ES384")
