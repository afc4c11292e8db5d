"""What is believed of a key set or a discovery document that somebody else publishes."""

from __future__ import annotations

import json

import pytest

from tests import rule
from watchword.errors import WatchwordError
from watchword.protocol.foreign_keys import discovery_url, read_document, read_jwks_uri, read_keys
from watchword.protocol.jose import generate_private_key

ISSUER = "https://tokens.example.com/main"
ES256 = dict(generate_private_key("ES256").public_jwk)
RS256 = dict(generate_private_key("RS256").public_jwk)
JSON = {"content-type": "application/json; charset=utf-8"}


@pytest.mark.parametrize(
    ("issuer", "url"),
    [
        ("https://a.example", "https://a.example/.well-known/openid-configuration"),
        ("https://a.example/", "https://a.example/.well-known/openid-configuration"),
        ("https://a.example/t/1", "https://a.example/t/1/.well-known/openid-configuration"),
    ],
)
def test_the_discovery_document_stands_below_the_issuer(issuer, url):
    assert discovery_url(issuer) == url


@rule("KF-58")
@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ({"issuer": ISSUER + "/", "jwks_uri": ISSUER + "/keys"}, "keys.issuer"),
        ({"issuer": ISSUER.upper(), "jwks_uri": ISSUER + "/keys"}, "keys.issuer"),
        ({"issuer": [ISSUER], "jwks_uri": ISSUER + "/keys"}, "keys.issuer"),
        ({"jwks_uri": ISSUER + "/keys"}, "keys.issuer"),
        ({"issuer": ISSUER}, "keys.jwks_uri"),
        ({"issuer": ISSUER, "jwks_uri": 7}, "keys.jwks_uri"),
        ({"issuer": ISSUER, "jwks_uri": "https://evil.example/keys"}, "keys.host"),
        ({"issuer": ISSUER, "jwks_uri": "https://tokens.example.com:8443/keys"}, "keys.host"),
        ({"issuer": ISSUER, "jwks_uri": "https://tokens.example.com.evil.example/keys"}, "keys.host"),
        ({"issuer": ISSUER, "jwks_uri": "file:///keys"}, "url.syntax"),
    ],
)
def test_a_discovery_document_of_another_or_that_leads_elsewhere_is_refused(document, reason):
    with pytest.raises(WatchwordError) as refused:
        read_jwks_uri(document, issuer=ISSUER)
    assert refused.value.reason == reason


def test_an_issuers_own_document_names_its_keys():
    document = {"issuer": ISSUER, "jwks_uri": "https://tokens.example.com/keys", "other": None}
    assert read_jwks_uri(document, issuer=ISSUER) == "https://tokens.example.com/keys"


@pytest.mark.parametrize(
    ("status", "headers", "body", "reason"),
    [
        (500, JSON, b"{}", "keys.status"),
        (204, JSON, b"", "keys.status"),
        (404, JSON, b"{}", "keys.status"),
        (200, {"content-type": "text/html"}, b"{}", "keys.content_type"),
        (200, {"content-type": "text/plain"}, b"{}", "keys.content_type"),
        (200, {"content-type": "image/svg+json"}, b"{}", "keys.content_type"),
        (200, {}, b"{}", "keys.content_type"),
        (200, JSON, b"<html>", "keys.json"),
        (200, JSON, b"[]", "keys.json"),
        (200, JSON, b'{"keys":[],"keys":[]}', "keys.json"),
    ],
)
def test_an_answer_that_is_no_json_document_is_refused(status, headers, body, reason):
    with pytest.raises(WatchwordError) as refused:
        read_document(status, headers, body)
    assert refused.value.reason == reason


@pytest.mark.parametrize(
    "media_type", ["application/json", "Application/JSON;charset=utf-8", "application/jwk-set+json"]
)
def test_a_json_document_is_read(media_type):
    assert read_document(200, {"content-type": media_type}, b'{"keys":[]}') == {"keys": []}


def test_rsa_keys_that_do_not_say_their_algorithm_get_the_registered_one():
    silent = {name: value for name, value in RS256.items() if name != "alg"}
    keys = read_keys({"keys": [silent, ES256]}, rsa_algorithm="RS256", use="sig")
    assert keys.find(RS256["kid"], "RS256") is not None
    assert keys.find(RS256["kid"], "PS256") is None
    assert keys.find(ES256["kid"], "ES256") is not None


def test_members_we_have_no_use_for_are_ignored():
    decorated = {**ES256, "x5c": ["AAAA"], "x5t": "abc", "issuer": ISSUER, "cloud_instance_name": "x"}
    assert read_keys({"keys": [decorated]}, rsa_algorithm="RS256", use="sig").find(ES256["kid"], "ES256") is not None


@rule("SPIFFE-02")
def test_of_a_bundle_only_the_keys_that_sign_identities_are_used():
    other = dict(generate_private_key("ES256").public_jwk)
    bundle = {"keys": [{**ES256, "use": "jwt-svid"}, {**other, "use": "x509-svid"}, RS256], "spiffe_sequence": 1}
    keys = read_keys(bundle, rsa_algorithm="RS256", use="jwt-svid")
    assert list(keys.keys) == [ES256["kid"]]
    assert read_keys({"keys": [{**ES256, "use": "jwt-svid"}, RS256]}, rsa_algorithm="RS256", use="sig").keys.keys() == {
        RS256["kid"]
    }


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ({"keys": [{**ES256, "d": "AAAA"}]}, "keys.refused"),
        ({"keys": [{"kty": "oct", "k": "AAAA"}]}, "keys.refused"),
        ({"keys": [{**ES256, "use": "enc"}]}, "keys.refused"),
        ({"keys": {}}, "jwks.form"),
        ({}, "jwks.form"),
        ({"keys": [ES256] * 65}, "jwks.size"),
    ],
)
def test_a_set_without_a_usable_key_is_refused(document, reason):
    with pytest.raises(WatchwordError) as refused:
        read_keys(document, rsa_algorithm="RS256", use="sig")
    assert refused.value.reason == reason
    assert read_keys(json.loads(json.dumps({"keys": []})), rsa_algorithm="RS256", use="sig").keys == {}
