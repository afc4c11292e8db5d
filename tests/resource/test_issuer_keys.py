"""Finding and fetching an issuer's keys: RFC 8414 §3, RFC 7517 §5, RFC 9111 §4.2."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from tests import rule
from tests.resource.issuers import ISSUER, JWKS_URI, KEY, METADATA_URL, Issuer
from watchword.errors import WatchwordError
from watchword.ports.http import HttpResponse
from watchword.protocol.jose import generate_private_key
from watchword.resource.issuer_keys import IssuerKeys

KID = str(KEY.public_jwk["kid"])


def answer(document: object, status: int = 200) -> HttpResponse:
    return HttpResponse(status=status, headers={}, body=json.dumps(document).encode())


def metadata(**members: object) -> HttpResponse:
    usual = {"issuer": ISSUER, "token_endpoint": f"{ISSUER}/oauth/token", "jwks_uri": JWKS_URI}
    return answer({name: value for name, value in {**usual, **members}.items() if value is not None})


def refusal_of(issuer: Issuer) -> str:
    with pytest.raises(WatchwordError) as caught:
        IssuerKeys(ISSUER, None).fetch(issuer.send)
    return caught.value.reason


def test_the_keys_are_where_the_metadata_says():
    issuer = Issuer()
    fetched = IssuerKeys(ISSUER, None).fetch(issuer.send)
    assert issuer.fetches == [METADATA_URL, JWKS_URI]
    assert list(fetched.keys.keys) == [KID]
    assert fetched.freshness == timedelta(seconds=300)


def test_the_metadata_is_asked_once_as_long_as_the_keys_can_be_fetched():
    issuer, source = Issuer(), IssuerKeys(ISSUER, None)
    source.fetch(issuer.send)
    source.fetch(issuer.send)
    assert issuer.fetches == [METADATA_URL, JWKS_URI, JWKS_URI]


def test_after_a_failure_the_metadata_is_asked_again():
    issuer, source = Issuer(), IssuerKeys(ISSUER, None)
    source.fetch(issuer.send)
    issuer.fail(404)
    with pytest.raises(WatchwordError):
        source.fetch(issuer.send)
    issuer.override[METADATA_URL] = metadata(jwks_uri=f"{ISSUER}/moved")
    issuer.override[f"{ISSUER}/moved"] = answer({"keys": [dict(KEY.public_jwk)]})
    assert list(source.fetch(issuer.send).keys.keys) == [KID]


def test_a_configured_jwks_uri_is_taken_as_it_is():
    issuer = Issuer()
    IssuerKeys(ISSUER, JWKS_URI).fetch(issuer.send)
    assert issuer.fetches == [JWKS_URI]


@rule("Q1", "V4")
@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ({"issuer": ISSUER + "/"}, "metadata.issuer"),
        ({"issuer": "https://AUTH.example.com"}, "metadata.issuer"),
        ({"issuer": None}, "metadata.issuer"),
        ({"jwks_uri": None}, "keys.jwks_uri"),
        ({"jwks_uri": "file:///etc/passwd"}, "metadata.endpoint"),
        ({"jwks_uri": "data:application/json,{}"}, "metadata.endpoint"),
        ({"jwks_uri": "http://auth.example.com/jwks"}, "metadata.endpoint"),
        ({"jwks_uri": ["https://auth.example.com/jwks"]}, "metadata.form"),
    ],
)
@rule("KF-36")
def test_metadata_of_another_issuer_or_with_an_unsafe_jwks_uri_is_not_believed(members, reason):
    issuer = Issuer()
    issuer.override[METADATA_URL] = metadata(**members)
    assert refusal_of(issuer) == reason
    assert issuer.jwks_fetches == 0


@rule("V4")
@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "keys.json"),
        (b"<html>", "keys.json"),
        (b"[]", "keys.json"),
        (b'{"keys":[]', "keys.json"),
        (b'{"keys":[],"keys":[]}', "keys.json"),
        (b'\xef\xbb\xbf{"keys":[]}', "keys.json"),
        (b'{"a":' * 3000 + b"1" + b"}" * 3000, "keys.json"),
        (b"{}", "jwks.form"),
        (b'{"keys":{}}', "jwks.form"),
        (b'{"keys":[{"kty":"oct","k":"AAAA","kid":"a"}]}', "keys.refused"),
    ],
)
def test_what_is_no_key_set_is_refused(body, reason):
    issuer = Issuer()
    issuer.fail(body)
    assert refusal_of(issuer) == reason


@pytest.mark.parametrize("status", [201, 204, 304, 401, 404, 500, 503])
def test_only_200_has_keys(status):
    issuer = Issuer()
    issuer.fail(status)
    assert refusal_of(issuer) == "keys.status"


def test_an_empty_set_is_believed():
    issuer = Issuer()
    issuer.published = []
    assert dict(IssuerKeys(ISSUER, None).fetch(issuer.send).keys.keys) == {}


@rule("R7517-5-01", "R7517-5-02", "J24")
def test_unusable_keys_are_skipped_and_the_rest_is_used():
    other = generate_private_key("Ed25519").public_jwk
    unusable = [
        {"kty": "oct", "k": "c2VjcmV0", "kid": "mac"},
        {"kty": "XYZ", "kid": "unknown"},
        {**other, "kid": "encrypt", "use": "enc"},
        {**other, "kid": "sign-only", "key_ops": ["sign"]},
        {**other, "kid": "private", "d": other["x"]},
        "not an object",
    ]
    issuer = Issuer()
    issuer.override[JWKS_URI] = answer({"keys": [*unusable, dict(KEY.public_jwk)]})
    assert list(IssuerKeys(ISSUER, None).fetch(issuer.send).keys.keys) == [KID]
