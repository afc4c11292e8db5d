"""Token Status List, draft 21: the draft's own examples, the round trip, and everything that is no list."""

from __future__ import annotations

import base64
import zlib
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import rule
from watchword.protocol import jose, names
from watchword.protocol.status_list import (
    LIST_SIZE,
    MAX_BYTES,
    InvalidStatusList,
    StatusReference,
    build_header,
    build_status,
    build_status_list,
    check_status_list,
    parse_status,
    parse_status_list,
)

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
ISSUER = "https://as.example"
URI = f"{ISSUER}/oauth/status/0"
KEY = jose.generate_private_key("ES256")
PUBLIC = jose.import_public_jwk(KEY.public_jwk)
LEEWAY = timedelta(seconds=30)


def sign(claims: dict[str, object], **header: str) -> str:
    head = build_header(algorithm="ES256", kid=PUBLIC.kid) | header
    return jose.build_compact(head, claims, KEY.sign)


def claims_of(lst: str, bits: int = 1, **more: object) -> dict[str, object]:
    return {"iss": ISSUER, "sub": URI, "iat": int(NOW.timestamp()), "status_list": {"bits": bits, "lst": lst}, **more}


def check(token: str, *, now: datetime = NOW):
    algorithms = frozenset({"ES256"})
    parsed = parse_status_list(token)
    return check_status_list(parsed, key=PUBLIC, issuer=ISSUER, uri=URI, algorithms=algorithms, now=now, leeway=LEEWAY)


def packed(statuses: bytes) -> str:
    return base64.urlsafe_b64encode(zlib.compress(statuses)).rstrip(b"=").decode()


@rule("TSL-01")
@pytest.mark.parametrize(
    ("bits", "lst", "statuses"),
    [
        (1, "eNrbuRgAAhcBXQ", [1, 0, 0, 1, 1, 1, 0, 1, 1, 1, 0, 0, 0, 1, 0, 1]),
        (2, "eNo76fITAAPfAgc", [1, 2, 0, 3, 0, 1, 0, 1, 1, 2, 3, 3]),
    ],
)
def test_the_examples_of_the_draft(bits, lst, statuses):
    found = check(sign(claims_of(lst, bits)))
    assert [found.status(index) for index in range(len(statuses))] == statuses
    with pytest.raises(InvalidStatusList) as refused:
        found.status(len(statuses))
    assert refused.value.reason == "status.index"


@rule("TSL-01")
@given(st.sets(st.integers(0, LIST_SIZE - 1), max_size=40))
def test_what_is_revoked_and_nothing_else_is(revoked):
    claims = build_status_list(
        issuer=ISSUER, uri=URI, revoked=revoked, issued_at=NOW, lifetime=timedelta(minutes=2), ttl=timedelta(seconds=10)
    )
    found = check(sign(claims))
    assert sum(byte.bit_count() for byte in found.statuses) == len(revoked)
    assert all(found.status(index) == 1 for index in revoked)
    assert (found.ttl, found.expires_at) == (timedelta(seconds=10), NOW + timedelta(minutes=2))


def test_a_million_tokens_of_which_a_hundred_are_revoked_are_less_than_20_kilobytes():
    revoked = [(index * 7919 * 131) % LIST_SIZE for index in range(100)]
    claims = build_status_list(
        issuer=ISSUER, uri=URI, revoked=revoked, issued_at=NOW, lifetime=timedelta(minutes=2), ttl=timedelta(seconds=10)
    )
    assert len(sign(claims)) < 2_048


@rule("TSL-03")
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"sub": URI + "1"}, "status.subject"),
        ({"sub": None}, "status.subject"),
        ({"iss": "https://other.example"}, "status.issuer"),
        ({"iat": "now"}, "status.claims"),
        ({"iat": int(NOW.timestamp()) + 31}, "status.not_yet_valid"),
        ({"exp": int(NOW.timestamp()) - 30}, "status.expired"),
        ({"exp": True}, "status.claims"),
        ({"ttl": 0}, "status.claims"),
        ({"ttl": "10"}, "status.claims"),
        ({"status_list": None}, "status.claims"),
        ({"status_list": {"bits": 3, "lst": "eNrbuRgAAhcBXQ"}}, "status.claims"),
        ({"status_list": {"bits": True, "lst": "eNrbuRgAAhcBXQ"}}, "status.claims"),
        ({"status_list": {"bits": 1}}, "status.claims"),
        ({"status_list": {"bits": 1, "lst": "eNrbuRgAAhcBXQ=="}}, "status.claims"),
        ({"status_list": {"bits": 1, "lst": "AAAA"}}, "status.claims"),
        ({"status_list": {"bits": 1, "lst": "eNrbuRgAAhcB"}}, "status.size"),
        ({"status_list": {"bits": 1, "lst": packed(bytes(MAX_BYTES + 1))}}, "status.size"),
    ],
)
def test_what_is_no_list_is_not_believed(change, reason):
    good = claims_of("eNrbuRgAAhcBXQ")
    with pytest.raises(InvalidStatusList) as refused:
        check(sign(good | change))
    assert refused.value.reason == reason
    assert check(sign(good)).status(0) == 1


@pytest.mark.parametrize(
    ("token", "reason"),
    [
        (sign(claims_of("eNrbuRgAAhcBXQ"), typ="at+jwt"), "jws.typ"),
        (sign(claims_of("eNrbuRgAAhcBXQ"), kid=""), "status.kid"),
        (sign(claims_of("eNrbuRgAAhcBXQ"), kid="other"), "status.kid"),
        (sign(claims_of("eNrbuRgAAhcBXQ")).rpartition(".")[0] + "." + "A" * 86, "jws.signature"),
        ("eyJ", "jws.form"),
    ],
)
@rule("R7", "TSL-03")
def test_what_was_tampered_with_is_not_believed(token, reason):
    with pytest.raises(InvalidStatusList) as refused:
        check(token)
    assert refused.value.reason == reason


@rule("TSL-02")
def test_a_token_refers_to_its_place():
    assert parse_status(build_status(URI, 7)) == StatusReference(URI, 7)
    assert parse_status({"another_mechanism": {}}) is None


@pytest.mark.parametrize(
    "value",
    [
        None,
        "status",
        [],
        {"status_list": None} | {"status_list": 7},
        {"status_list": {}},
        {"status_list": {"idx": 1}},
        {"status_list": {"idx": -1, "uri": URI}},
        {"status_list": {"idx": True, "uri": URI}},
        {"status_list": {"idx": "1", "uri": URI}},
        {"status_list": {"idx": 1, "uri": ""}},
    ],
)
def test_a_reference_that_makes_no_sense_is_no_good_token(value):
    with pytest.raises(InvalidStatusList) as refused:
        parse_status(value)
    assert refused.value.reason == "status.reference"
    assert names.STATUS == "status"
