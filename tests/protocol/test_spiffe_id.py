"""SPIFFE ids are taken as they are written, or not at all."""

from __future__ import annotations

import pytest

from tests import rule
from watchword.protocol.spiffe_id import InvalidSpiffeId, check_trust_domain, trust_domain_of


@pytest.mark.parametrize("text", ["spiffe://example.org/ns/a/sa/b", "spiffe://example.org/A_b-c.d"])
def test_an_id_names_its_trust_domain(text):
    assert trust_domain_of(text) == "spiffe://example.org"
    assert check_trust_domain("spiffe://example.org") == "spiffe://example.org"


@rule("F13")
@pytest.mark.parametrize(
    "text",
    [
        "spiffe://example.org",
        "spiffe://example.org/",
        "spiffe://example.org/a/",
        "spiffe://example.org//a",
        "spiffe://example.org/a/../b",
        "spiffe://example.org/./b",
        "spiffe://example.org/a%2fb",
        "spiffe://example.org/a?b",
        "spiffe://example.org/a#b",
        "spiffe://Example.org/a",
        "spiffe://example.org:443/a",
        "spiffe://user@example.org/a",
        "spiffe:///a",
        "SPIFFE://example.org/a",
        "https://example.org/a",
        "spiffe://example.org/a\n",
        "spiffe://example.org/é",
        f"spiffe://{'a' * 256}/a",
        f"spiffe://a/{'a' * 2048}",
        "",
    ],
)
def test_anything_else_is_refused(text):
    with pytest.raises(InvalidSpiffeId, match=r"spiffe\.id"):
        trust_domain_of(text)


@rule("F13")
@pytest.mark.parametrize(
    "text", ["spiffe://example.org/a", "spiffe://", "example.org", "spiffe://Example.org", "spiffe://a b"]
)
def test_a_trust_domain_has_no_path_and_no_capitals(text):
    with pytest.raises(InvalidSpiffeId, match=r"spiffe\.id"):
        check_trust_domain(text)
