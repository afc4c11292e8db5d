from __future__ import annotations

import json
import stat

import pytest

from tests import rule
from tests.vectors import key_for, load
from watchword.cli.profiles import find_profile
from watchword.client.profile_credentials import build_credential
from watchword.client.profiles import profile_path
from watchword.protocol.private_keys import read_private_key, to_pem

KEYED = ("--auth", "private_key_jwt", "--resource", "my-api", "--scope", "read:data", "-o", "json")
KEY = key_for("ES256")


def public_pem(algorithm: str = "ES256") -> str:
    from cryptography.hazmat.primitives import serialization

    public = key_for(algorithm).key.public_key()
    pem = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return pem.decode()


def keys_of(admin, agent: str) -> list[dict[str, object]]:
    return [one["public_key"] for one in admin("credential", "list", agent, "-o", "json").json() if "public_key" in one]


@rule("Q6", "A16")
def test_without_a_key_one_is_made_that_the_server_never_sees(admin, home):
    ran = admin("agent", "create", "writer", *KEYED)
    made, profile = ran.json(), find_profile("writer")
    assert (made["auth_methods"], "client_secret" in made, "private_key" in made) == (
        ["private_key_jwt", "watchword_challenge"],
        False,
        False,
    )
    assert profile.auth_method == "private_key_jwt"
    assert (profile.client_id, profile.resource, profile.scope) == (made["client_id"], "my-api", "read:data")
    assert stat.S_IMODE(profile_path("writer", {"XDG_CONFIG_HOME": str(home / "xdg")}).stat().st_mode) == 0o600
    key = read_private_key(profile.private_key)
    assert keys_of(admin, "writer") == [{"jwk": dict(key.public_jwk)}]
    assert "PRIVATE KEY" not in ran.out + ran.err
    assert key.kid in repr(build_credential(profile))


@pytest.mark.parametrize("algorithm", ["ES384", "Ed25519", "PS256", "RS256"])
def test_the_algorithm_of_the_key_may_be_named(admin, home, algorithm):
    assert admin("agent", "create", "writer", *KEYED, "--alg", algorithm, "--save-profile", "mine").code == 0
    assert f"kid='{keys_of(admin, 'writer')[0]['jwk']['kid']}'" in repr(build_credential(find_profile("mine")))
    assert keys_of(admin, "writer")[0]["jwk"]["alg"] == algorithm


def test_a_profile_that_is_there_is_not_written_over_and_nobody_is_registered(admin, home):
    admin("agent", "create", "writer", *KEYED)
    ran = admin("agent", "create", "second", *KEYED, "--save-profile", "writer")
    assert (ran.code, admin("agent", "show", "second").code) == (6, 6)


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        (public_pem(), {"jwk": dict(KEY.public_jwk)}),
        (json.dumps(dict(KEY.public_jwk)), {"jwk": dict(KEY.public_jwk)}),
        (
            json.dumps({"keys": [dict(KEY.public_jwk), dict(key_for("ES384").public_jwk)]}),
            {"jwks": {"keys": [dict(KEY.public_jwk), dict(key_for("ES384").public_jwk)]}},
        ),
    ],
    ids=["PEM", "JWK", "JWK Set"],
)
def test_a_public_key_may_stand_in_a_file(admin, home, text, stored):
    (home / "agent.pub").write_text(text)
    assert admin("agent", "create", "mailer", *KEYED, "--public-key", home / "agent.pub").code == 0
    assert keys_of(admin, "mailer") == [stored]
    assert find_profile("mailer") is None


def test_an_rsa_key_in_pem_needs_its_algorithm(admin, home):
    (home / "agent.pub").write_text(public_pem("PS256"))
    ran = admin("agent", "create", "mailer", *KEYED, "--public-key", home / "agent.pub")
    assert (ran.code, "PS256 or RS256" in ran.err) == (2, True)
    assert admin("agent", "create", "mailer", *KEYED, "--public-key", home / "agent.pub", "--alg", "RS256").code == 0
    assert keys_of(admin, "mailer")[0]["jwk"]["alg"] == "RS256"


VECTOR = load("rfc7515")["vectors"][1]


@rule("J24", "Q6")
@pytest.mark.parametrize(
    ("text", "said"),
    [
        (to_pem(KEY), "which stays here"),
        (json.dumps({**VECTOR["jwk"], "d": VECTOR["d"]}), "which stays here"),
        (json.dumps({"keys": [{**VECTOR["jwk"], "d": VECTOR["d"]}]}), "which stays here"),
        ("-----BEGIN PUBLIC KEY-----\nhush\n-----END PUBLIC KEY-----", "no public key in PEM"),
        ("hush", "neither PEM nor JSON"),
        ("[]", "neither a JWK nor a JWK Set"),
        ('{"keys": 1}', "neither a JWK nor a JWK Set"),
    ],
)
def test_a_file_that_holds_no_public_key_is_not_sent(admin, home, text, said):
    (home / "agent.key").write_text(text)
    ran = admin("agent", "create", "mailer", *KEYED, "--public-key", home / "agent.key")
    assert (ran.code, said in ran.err, "hush" in ran.err) == (2, True, False)
    assert VECTOR["d"] not in ran.err + ran.out
    assert admin("agent", "show", "mailer").code == 6


@pytest.mark.parametrize(
    "arguments",
    [
        ("--public-key", "x", "--jwks-uri", "https://agents.example/jwks"),
        ("--public-key", "does-not-exist"),
        ("--alg", "HS256"),
        ("--jwks-uri", "http://agents.example/jwks"),
    ],
)
def test_what_makes_no_sense_is_a_matter_of_usage(admin, arguments):
    assert admin("agent", "create", "mailer", *KEYED, *arguments).code == 2


def test_a_key_is_for_agents_that_use_one(admin):
    ran = admin("agent", "create", "mailer", "--resource", "my-api", "--scope", "read:data", "--alg", "ES256")
    assert (ran.code, "--auth private_key_jwt" in ran.err) == (2, True)


def test_keys_may_be_published_and_strictly_used(admin):
    uri = "https://agents.example/jwks.json"
    assert admin("agent", "create", "fleet", *KEYED, "--jwks-uri", uri, "--alg", "PS256", "--strict").code == 0
    assert keys_of(admin, "fleet") == [{"jwks_uri": uri, "alg": "PS256", "strict": True}]


@rule("TRAP-22")
def test_a_key_is_added_beside_the_others_and_opens_its_own_way(admin, home):
    admin("agent", "create", "reader", "--resource", "my-api", "--scope", "read:data")
    ran = admin("credential", "add-key", "reader", "--save-profile", "next", "--label", "2027", "-o", "json")
    added = ran.json()
    assert (added["kind"], added["label"]) == ("public_key", "2027")
    methods = admin("agent", "show", "reader", "-o", "json").json()["auth_methods"]
    assert methods == ["client_secret_basic", "client_secret_post", "private_key_jwt", "watchword_challenge"]
    profile = find_profile("next")
    assert profile.client_id == added["client_id"]
    assert read_private_key(profile.private_key).kid == added["public_key"]["jwk"]["kid"]
    assert "PRIVATE KEY" not in ran.out + ran.err


@pytest.mark.parametrize("arguments", [(), ("--save-profile", "x", "--jwks-uri", "https://agents.example/jwks")])
def test_a_key_that_is_added_is_given_or_made(admin, arguments):
    admin("agent", "create", "writer", *KEYED)
    assert admin("credential", "add-key", "writer", *arguments).code == 2


@rule("R10070-3-03")
def test_what_is_allowed_of_an_old_client_is_named_and_taken_back(admin):
    made = admin("agent", "create", "writer", *KEYED, "--allow", "eddsa_header").json()
    assert made["concessions"] == ["eddsa_header"]
    both = admin("agent", "update", "writer", "--allow", "token_endpoint_audience", "-o", "json").json()
    assert both["concessions"] == ["token_endpoint_audience", "eddsa_header"]
    one = admin("agent", "update", "writer", "--disallow", "eddsa_header", "-o", "json").json()
    assert one["concessions"] == ["token_endpoint_audience"]
    none = admin("agent", "update", "writer", "--disallow", "token_endpoint_audience", "-o", "json").json()
    assert none["concessions"] == []
    for arguments in (("--allow", "anything"), ("--disallow", "anything")):
        assert admin("agent", "update", "writer", *arguments).code == 2
