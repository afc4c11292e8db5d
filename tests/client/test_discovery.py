from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from tests import rule
from tests.client.world import ISSUER, METADATA_URL, answer
from watchword.client.discovery import KEPT_FOR, KnownMetadata, check_issuer, metadata_urls, parse_metadata
from watchword.client.errors import LoginMisconfigured
from watchword.protocol.metadata import ServerMetadata

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


@rule("MCP-06")
def test_an_issuer_with_a_path_is_looked_for_in_the_prescribed_order() -> None:
    assert metadata_urls("https://example.com/tenant1") == (
        "https://example.com/.well-known/oauth-authorization-server/tenant1",
        "https://example.com/.well-known/openid-configuration/tenant1",
        "https://example.com/tenant1/.well-known/openid-configuration",
    )


@rule("MCP-06")
@pytest.mark.parametrize("issuer", ["https://example.com", "https://example.com/"])
def test_an_issuer_without_a_path_has_two_places(issuer: str) -> None:
    assert metadata_urls(issuer) == (
        "https://example.com/.well-known/oauth-authorization-server",
        "https://example.com/.well-known/openid-configuration",
    )


@rule("Q1", "R8414-2-01")
@pytest.mark.parametrize(
    ("issuer", "reason"),
    [
        ("http://login.example.com", "issuer.insecure"),
        ("http://localhost.evil.example", "issuer.insecure"),
        ("login.example.com", "issuer.syntax"),
        ("https://login.example.com?tenant=1", "issuer.syntax"),
        ("https://login.example.com#1", "issuer.syntax"),
        ("https://user:hush@login.example.com", "issuer.syntax"),
        ("", "issuer.syntax"),
    ],
)
def test_an_issuer_that_cannot_be_one_is_refused(issuer: str, reason: str) -> None:
    with pytest.raises(LoginMisconfigured) as refused:
        check_issuer(issuer)
    assert refused.value.reason == reason
    assert "hush" not in str(refused.value)


@pytest.mark.parametrize(
    "issuer", [ISSUER, "https://tenant.example.com/", "http://127.0.0.1:8020", "http://[::1]:8020"]
)
def test_a_good_issuer_is_taken_as_it_is_written(issuer: str) -> None:
    assert check_issuer(issuer) == issuer


@rule("R8414-3.3-01", "Q1", "R9700upd-01", "FAPI2-SDK-01")
@pytest.mark.parametrize(
    "named",
    [f"{ISSUER}/", "https://LOGIN.example.com", "https://evil.example", "http://login.example.com", "", None, [ISSUER]],
)
def test_metadata_of_another_issuer_is_not_used(named: object) -> None:
    response = answer(issuer=named, token_endpoint=f"{ISSUER}/oauth/token")
    with pytest.raises(LoginMisconfigured) as refused:
        parse_metadata(response, issuer=ISSUER, url=METADATA_URL)
    assert refused.value.reason == "discovery.issuer"


@rule("Q1", "R9700upd-01")
@pytest.mark.parametrize(
    "endpoint",
    [
        "http://login.example.com/oauth/token",
        "http://127.0.0.1/oauth/token",
        "https://u:p@login.example.com/",
        "token",
        "",
    ],
)
def test_an_endpoint_less_safe_than_its_issuer_is_not_used(endpoint: str) -> None:
    response = answer(issuer=ISSUER, token_endpoint=endpoint)
    with pytest.raises(LoginMisconfigured) as refused:
        parse_metadata(response, issuer=ISSUER, url=METADATA_URL)
    assert refused.value.reason == "discovery.endpoint"


@pytest.mark.parametrize("body", [b"<html>", b"[]", b"{", json.dumps({"issuer": ISSUER}).encode()])
def test_what_is_no_metadata_is_not_used(body: bytes) -> None:
    response = answer()
    with pytest.raises(LoginMisconfigured) as refused:
        parse_metadata(type(response)(status=200, headers={}, body=body), issuer=ISSUER, url=METADATA_URL)
    assert refused.value.reason == "discovery.form"


def test_a_loopback_issuer_may_have_a_loopback_endpoint() -> None:
    issuer = "http://127.0.0.1:8020"
    response = answer(issuer=issuer, token_endpoint=f"{issuer}/oauth/token")
    assert parse_metadata(response, issuer=issuer, url=issuer).token_endpoint == f"{issuer}/oauth/token"


def test_what_is_known_is_fresh_for_an_hour_and_remembered_longer() -> None:
    known = KnownMetadata(ISSUER)
    metadata = ServerMetadata(issuer=ISSUER, token_endpoint=f"{ISSUER}/oauth/token")
    assert (known.fresh(NOW), known.last()) == (None, None)
    known.keep(metadata, NOW)
    assert known.fresh(NOW + KEPT_FOR - timedelta(seconds=1)) == metadata
    assert known.fresh(NOW + KEPT_FOR) is None
    assert known.fresh(NOW - timedelta(seconds=1)) is None
    assert known.last() == metadata
    known.forget()
    assert known.last() is None
