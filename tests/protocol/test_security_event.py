"""What a revocation event says, and which are believed."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest

from tests import rule
from tests.vectors import key_for
from watchword.protocol.jose import PublicKey, build_compact, generate_private_key
from watchword.protocol.revocation import Revocation, RevocationKind
from watchword.protocol.security_event import (
    EVENT_CREDENTIAL_CHANGE,
    EVENT_REVOCATIONS,
    EVENT_SESSION_REVOKED,
    MAX_SIZE,
    PAGE,
    FeedEvent,
    InvalidSecurityEvent,
    build_header,
    build_security_event,
    check_security_event,
    parse_security_event,
    read_security_event,
)
from watchword.testing import forge

ISSUER, AUDIENCE = "https://auth.example", "https://auth.example/oauth/events"
KEY = key_for("ES256")
NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
SECONDS = int(NOON.timestamp())
HEADER = build_header(algorithm="ES256", kid=KEY.kid)

Claims = dict[str, Any]


def revocation(kind: RevocationKind = RevocationKind.AGENT, target: str = "reader", sequence: int = 8) -> Revocation:
    return Revocation(
        kind=kind,
        target=target,
        cutoff=NOON,
        created_at=NOON,
        expires_at=NOON + timedelta(hours=1),
        sequence=sequence,
    )


EVENT = FeedEvent(generation=1, after=7, sequence=8, issued_at=NOON, revocations=(revocation(),))
HEARTBEAT = FeedEvent(generation=1, after=8, sequence=8, issued_at=NOON)


def claims_of(event: FeedEvent = EVENT) -> Claims:
    return build_security_event(event, issuer=ISSUER, audience=AUDIENCE, jti="e-1", txn="t-1")


def members(claims: Claims) -> Claims:
    ((_, found),) = claims["events"].items()
    return found


def signed(claims: Claims) -> str:
    return build_compact(HEADER, claims, KEY.sign)


def check(token: str, *, key: PublicKey | None = None, algorithms: frozenset[str] = frozenset({"ES256"})) -> FeedEvent:
    return check_security_event(
        parse_security_event(token),
        key=key or KEY.public_key(),
        issuer=ISSUER,
        audience=AUDIENCE,
        algorithms=algorithms,
    )


def refused(call: Callable[[], object]) -> str:
    with pytest.raises(InvalidSecurityEvent) as caught:
        call()
    return caught.value.reason


@rule("SSF-03", "SSF-04")
def test_an_agents_end_is_a_session_revoked() -> None:
    assert claims_of() == {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "iat": SECONDS,
        "jti": "e-1",
        "txn": "t-1",
        "sub_id": {"format": "iss_sub", "iss": ISSUER, "sub": "reader"},
        "events": {
            EVENT_SESSION_REVOKED: {
                "event_timestamp": SECONDS,
                "generation": 1,
                "after": 7,
                "sequence": 8,
                "revocations": [
                    {
                        "kind": "agent",
                        "target": "reader",
                        "cutoff": SECONDS,
                        "expires_at": SECONDS + 3600,
                        "sequence": 8,
                    }
                ],
            }
        },
    }


@rule("SSF-04")
@pytest.mark.parametrize(
    ("kind", "event_type", "subject"),
    [
        (RevocationKind.TOKEN, EVENT_SESSION_REVOKED, {"format": "jwt_id", "iss": ISSUER, "jti": "x"}),
        (RevocationKind.CREDENTIAL, EVENT_CREDENTIAL_CHANGE, {"format": "opaque", "id": "x"}),
        (RevocationKind.RESOURCE, EVENT_REVOCATIONS, None),
        (RevocationKind.SIGNING_KEY, EVENT_REVOCATIONS, None),
        (RevocationKind.EVERYTHING, EVENT_REVOCATIONS, None),
    ],
)
def test_each_kind_is_said_with_the_type_that_fits(kind, event_type, subject) -> None:
    claims = claims_of(replace(EVENT, revocations=(revocation(kind, "x"),)))
    assert (list(claims["events"]), claims.get("sub_id")) == ([event_type], subject)


@rule("SSF-04")
def test_a_credentials_end_says_what_changed() -> None:
    found = members(claims_of(replace(EVENT, revocations=(revocation(RevocationKind.CREDENTIAL),))))
    assert (found["credential_type"], found["change_type"]) == ("app", "revoke")


def test_a_snapshot_is_of_our_own_type_even_with_one_revocation() -> None:
    claims = claims_of(replace(EVENT, after=0, is_snapshot=True, is_complete=True))
    assert list(claims["events"]) == [EVENT_REVOCATIONS]
    assert (members(claims)["snapshot"], members(claims)["complete"]) == (True, True)


def test_a_cutoff_within_a_second_is_rounded_up() -> None:
    """Rounded down it would spare what was issued in that second."""
    late = replace(revocation(), cutoff=NOON + timedelta(milliseconds=1))
    (told,) = members(claims_of(replace(EVENT, revocations=(late,))))["revocations"]
    assert told["cutoff"] == SECONDS + 1


@rule("SSF-03", "R8417-2.2-01")
def test_another_librarys_reader_takes_it() -> None:
    token = signed(claims_of())
    assert jwt.get_unverified_header(token) == {"alg": "ES256", "kid": KEY.kid, "typ": "secevent+jwt"}
    read = jwt.decode(token, jwt.PyJWK(dict(KEY.public_jwk)).key, algorithms=["ES256"], audience=AUDIENCE)
    assert read == claims_of()


@pytest.mark.parametrize(
    "event",
    [
        EVENT,
        HEARTBEAT,
        FeedEvent(generation=3, after=0, sequence=0, issued_at=NOON, is_snapshot=True, is_complete=True),
        replace(EVENT, revocations=(replace(revocation(RevocationKind.TOKEN), status=77),)),
        replace(EVENT, sequence=20, revocations=(revocation(), revocation(RevocationKind.EVERYTHING, "", 12))),
    ],
)
def test_what_is_built_is_read_back(event: FeedEvent) -> None:
    assert check(signed(claims_of(event))) == event


def test_a_full_page_of_long_targets_is_not_too_large() -> None:
    long = tuple(revocation(RevocationKind.SCOPE, "https://" + "x" * 1000, number) for number in range(1, PAGE + 1))
    page = FeedEvent(generation=1, after=0, sequence=PAGE, issued_at=NOON, revocations=long)
    token = signed(claims_of(page))
    assert len(token) < MAX_SIZE
    assert check(token) == page


@rule("R7")
def test_a_changed_character_anywhere_is_refused() -> None:
    token = signed(claims_of())
    head, body, signature = token.split(".")
    for at in range(0, len(body), 7):
        changed = body[:at] + ("A" if body[at] != "A" else "B") + body[at + 1 :]
        assert refused(lambda text=changed: check(f"{head}.{text}.{signature}")) in {"jws.signature", "jws.base64"}
    assert check(token) == EVENT


@rule("R7")
def test_a_cut_off_event_is_refused() -> None:
    token = signed(claims_of())
    for size in (0, 10, len(token) // 2, len(token) - 1):
        assert refused(lambda size=size: check(token[:size])) in {"jws.form", "jws.signature", "jws.base64"}
    assert check(token) == EVENT


def test_an_event_of_another_key_is_refused() -> None:
    assert (
        refused(lambda: check(signed(claims_of()), key=generate_private_key("ES256").public_key())) == "jws.signature"
    )


def test_an_algorithm_that_was_not_named_is_refused() -> None:
    assert refused(lambda: check(signed(claims_of()), algorithms=frozenset({"RS256"}))) == "jws.algorithm"


def test_an_event_without_a_key_id_is_refused() -> None:
    token = forge.sign(KEY, {"alg": "ES256", "typ": "secevent+jwt"}, claims_of())
    assert refused(lambda: check(token)) == "secevent.kid"


def test_an_event_that_names_another_key_is_refused() -> None:
    token = forge.sign(KEY, {**HEADER, "kid": "other"}, claims_of())
    assert refused(lambda: check(token)) == "secevent.kid"


@rule("R8417-2.3-01")
@pytest.mark.parametrize("typ", ["JWT", "at+jwt", "logout+jwt", ""])
def test_another_type_is_refused(typ: str) -> None:
    token = forge.sign(KEY, {**HEADER, "typ": typ}, claims_of())
    assert refused(lambda: check(token)) == "jws.typ"


@rule("SSF-05", "R7")
@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("iss", "https://other.example", "secevent.issuer"),
        ("iss", None, "secevent.issuer"),
        ("aud", "https://other.example", "secevent.audience"),
        ("aud", ["https://other.example"], "secevent.audience"),
        ("aud", None, "secevent.audience"),
        ("iat", "yesterday", "secevent.claims"),
        ("iat", True, "secevent.claims"),
        ("events", {}, "secevent.event"),
        ("events", [], "secevent.event"),
        ("events", {"urn:other": {}}, "secevent.event"),
        ("events", {EVENT_REVOCATIONS: []}, "secevent.event"),
    ],
)
def test_claims_that_are_not_of_this_feed_are_refused(name, value, reason) -> None:
    assert refused(lambda: check(signed({**claims_of(), name: value}))) == reason


@rule("R8417-2.2-01")
def test_two_events_in_one_are_refused() -> None:
    claims = claims_of()
    claims["events"][EVENT_REVOCATIONS] = deepcopy(members(claims))
    assert refused(lambda: check(signed(claims))) == "secevent.event"


@rule("R7")
@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("generation", "1", "secevent.claims"),
        ("generation", None, "secevent.claims"),
        ("after", -1, "secevent.claims"),
        ("after", True, "secevent.claims"),
        ("after", 8, "secevent.order"),
        ("sequence", 7.0, "secevent.claims"),
        ("sequence", 7, "secevent.order"),
        ("revocations", None, "secevent.claims"),
        ("revocations", [1], "secevent.claims"),
        ("revocations", [{}] * (PAGE + 1), "secevent.claims"),
        ("snapshot", 1, "secevent.claims"),
        ("complete", "yes", "secevent.claims"),
    ],
)
def test_a_member_that_is_not_what_it_must_be_is_refused(name, value, reason) -> None:
    claims = claims_of()
    members(claims)[name] = value
    assert refused(lambda: read_security_event(claims)) == reason


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("kind", "galaxy", "secevent.kind"),
        ("kind", None, "secevent.kind"),
        ("target", 1, "secevent.claims"),
        ("cutoff", "now", "secevent.claims"),
        ("expires_at", None, "secevent.claims"),
        ("status", -1, "secevent.claims"),
        ("sequence", 9, "secevent.order"),
        ("sequence", 7, "secevent.order"),
    ],
)
def test_a_revocation_that_cannot_be_honoured_is_refused(name, value, reason) -> None:
    claims = claims_of()
    members(claims)["revocations"][0][name] = value
    assert refused(lambda: read_security_event(claims)) == reason


def test_sequences_that_fall_are_refused() -> None:
    claims = claims_of(replace(EVENT, sequence=20, revocations=(revocation(sequence=12), revocation(sequence=11))))
    assert refused(lambda: read_security_event(claims)) == "secevent.order"


@rule("SSF-05")
def test_members_that_are_not_known_are_ignored() -> None:
    claims = claims_of()
    members(claims)["reason_admin"] = {"en": "left"}
    members(claims)["revocations"][0]["colour"] = "red"
    assert check(signed({**claims, "new": 1, "aud": [AUDIENCE, "https://other.example"]})) == EVENT
