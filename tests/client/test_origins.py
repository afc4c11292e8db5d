from __future__ import annotations

import pytest

from tests import rule
from watchword.client.errors import LoginMisconfigured
from watchword.client.origins import OriginRule, asks_for_another_token, parse_origin


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://api.example.com/v1/x", "https://api.example.com"),
        ("https://api.example.com:8443/", "https://api.example.com:8443"),
        ("http://127.0.0.1:8080/x?y=1", "http://127.0.0.1:8080"),
        ("http://[::1]:8080", "http://[::1]:8080"),
    ],
)
def test_an_origin_is_scheme_host_and_port(url: str, origin: str) -> None:
    assert parse_origin(url) == origin


@rule("R6750-5-01")
@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://api.example.com", "origin.insecure"),
        ("http://localhost.evil.example", "origin.insecure"),
        ("https://api.example.com@evil.example", "origin.syntax"),
        ("https://api.example.com\\@evil.example", "origin.syntax"),
        ("ftp://api.example.com", "origin.syntax"),
        ("api.example.com", "origin.syntax"),
        ("*", "origin.syntax"),
        ("", "origin.syntax"),
    ],
)
def test_what_is_no_safe_origin_is_refused(url: str, reason: str) -> None:
    with pytest.raises(LoginMisconfigured) as refused:
        OriginRule([url])
    assert refused.value.reason == reason


@rule("Q9", "R6750-5-01")
@pytest.mark.parametrize(
    "other",
    [
        "https://evil.example/v1",
        "https://api.example.com.evil.example/",
        "https://sub.api.example.com/",
        "https://example.com/",
        "https://api.example.com:8443/",
        "http://127.0.0.1/",
    ],
)
def test_a_token_goes_to_the_origin_of_its_resource_only(other: str) -> None:
    rule_ = OriginRule.of_resource("https://api.example.com/v1")
    with pytest.raises(LoginMisconfigured) as refused:
        rule_.admit(other)
    assert refused.value.reason == "origin.refused"
    assert rule_.admit("https://api.example.com/v2") == "https://api.example.com"


@rule("Q9")
@pytest.mark.parametrize("identifier", ["my-api", "urn:example:api", None])
def test_without_an_origin_the_first_one_is_taken_for_good(identifier: str | None) -> None:
    rule_ = OriginRule.of_resource(identifier)
    with pytest.raises(LoginMisconfigured):
        rule_.admit("http://api.example.com/")
    assert rule_.admit("https://api.example.com/1") == "https://api.example.com"
    with pytest.raises(LoginMisconfigured) as refused:
        rule_.admit("https://other.example.com/")
    assert refused.value.reason == "origin.refused"
    assert rule_.admit("https://api.example.com/2") == "https://api.example.com"


@rule("R6750-5-01")
@pytest.mark.parametrize(
    "identifier", ["http://api.example.com", "HTTPS://API.example.com", "https://api.example.com#x"]
)
def test_a_resource_whose_url_is_not_safe_is_no_reason_to_guess(identifier: str) -> None:
    with pytest.raises(LoginMisconfigured):
        OriginRule.of_resource(identifier)


@rule("Q4")
@pytest.mark.parametrize(
    ("status", "challenges", "is_worth_it"),
    [
        (401, 'Bearer error="invalid_token"', True),
        (401, "Bearer", True),
        (401, 'bearer realm="api"', True),
        (401, 'Basic realm="x", Bearer error="invalid_token", error_description="expired"', True),
        (401, 'Bearer error="insufficient_scope"', False),
        (401, 'Bearer error="invalid_request"', False),
        (401, 'Basic realm="x"', False),
        (401, 'DPoP error="invalid_token"', False),
        (401, '"', False),
        (401, None, False),
        (403, 'Bearer error="invalid_token"', False),
        (400, 'Bearer error="invalid_token"', False),
        (200, 'Bearer error="invalid_token"', False),
    ],
)
def test_only_a_refusal_of_the_token_asks_for_another(status: int, challenges: str | None, is_worth_it: bool) -> None:
    assert asks_for_another_token(status, challenges) is is_worth_it
