"""``watchword federation`` as it is typed: trust, rules, and what would become of a token."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests import rule
from tests.cli.conftest import ISSUER, Cli
from watchword.cli.federation_rules import claims_of
from watchword.errors import WatchwordError
from watchword.protocol.jose import generate_private_key
from watchword.testing.forge import sign

KEY = generate_private_key("ES256")


def token(subject: str) -> str:
    now = int(datetime.now(UTC).timestamp())
    claims = {"iss": "https://ci.example", "sub": subject, "aud": ISSUER, "iat": now, "exp": now + 300, "ref": True}
    return sign(KEY, {"alg": "ES256", "kid": KEY.kid, "typ": "JWT"}, claims)


@pytest.fixture
def trusted(admin: Cli, home: Path) -> Cli:
    file = home / "keys.json"
    file.write_text(json.dumps({"keys": [dict(KEY.public_jwk)]}))
    assert admin("federation", "trust", "ci", "--issuer", "https://ci.example", "--jwks", file).code == 0
    told = ("--auth", "federated", "--trusted-issuer", "ci", "--claim", "sub=a:b", "--claim", "ref:=true")
    made = admin("-o", "json", "agent", "create", "worker", "--resource", "my-api", "--scope", "read:data", *told)
    assert made.code == 0, made.err
    assert "client_secret" not in json.loads(made.out)
    return admin


@rule("F4")
def test_a_test_says_which_agent_or_which_claim(trusted: Cli, home: Path) -> None:
    file = home / "t.jwt"
    file.write_text(token("a:b") + "\n")
    told = trusted("-o", "json", "federation", "test", "--file", file)
    assert (told.code, json.loads(told.out)["accepted"]) == (0, True)
    refused = trusted("federation", "test", token("a:bad"))
    assert refused.code == 8
    assert 'sub: value; wanted "a:b", found "a:bad"' in refused.err
    assert "federated.no_agent" in refused.err
    assert "eyJ" not in refused.err + refused.out


def test_another_way_in_is_added_and_the_trust_goes_with_all_of_them(trusted: Cli) -> None:
    added = trusted(
        *("-o", "json", "credential", "add-federation", "worker", "--trusted-issuer", "ci", "--claim", "sub=c:*"),
        *("--max-age", "60", "--single-use"),
    )
    assert json.loads(added.out)["federated"] == {
        "trusted_issuer": "ci",
        "preset": "oidc",
        "claims": {"sub": "c:*"},
        "max_age": 60,
        "single_use": True,
    }
    assert trusted("federation", "update", "ci", "--alg", "ES256").code == 0
    assert json.loads(trusted("-o", "json", "federation", "show", "ci").out)["algorithms"] == ["ES256"]
    assert trusted("--yes", "federation", "remove", "ci").code == 6
    assert trusted("--yes", "federation", "remove", "ci", "--with-credentials").code == 0
    assert json.loads(trusted("-o", "json", "federation", "list").out) == []


@pytest.mark.parametrize(
    "arguments",
    [
        ("federation", "trust", "x"),
        ("agent", "create", "x", "--auth", "federated"),
        ("agent", "create", "x", "--claim", "sub=a"),
        ("agent", "create", "x", "--auth", "federated", "--trusted-issuer", "ci", "--claim", "sub"),
        ("agent", "create", "x", "--auth", "federated", "--trusted-issuer", "ci", "--claim", "sub:=x"),
        ("federation", "update", "ci"),
    ],
)
def test_what_is_half_said_is_a_question_of_usage(trusted: Cli, arguments: tuple[str, ...]) -> None:
    assert trusted(*arguments).code == 2


def test_claims_are_texts_unless_they_say_otherwise() -> None:
    assert claims_of(["a=1", "b:=1", "c:=true", "d=x", "d=y", "e=f=g", "/x~1y/z=v"]) == {
        "a": "1",
        "b": 1,
        "c": True,
        "d": ["x", "y"],
        "e": "f=g",
        "/x~1y/z": "v",
    }
    with pytest.raises(WatchwordError):
        claims_of(["=x"])
