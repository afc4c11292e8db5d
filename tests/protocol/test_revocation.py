"""What a revocation hits, and what it leaves alone."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import rule
from watchword.protocol.revocation import Revocation, RevocationKind, RevocationView

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
TOKEN = {
    "iss": "https://as.example",
    "client_id": "reader",
    "sub": "reader",
    "aud": "my-api",
    "scope": "read:data list:data",
    "iat": int(NOON.timestamp()),
    "jti": "one",
    "credential_id": "crd-1",
}
TARGETS = {
    RevocationKind.TOKEN: "one",
    RevocationKind.AGENT: "reader",
    RevocationKind.PERMISSION: "reader my-api",
    RevocationKind.CREDENTIAL: "crd-1",
    RevocationKind.RESOURCE: "my-api",
    RevocationKind.SCOPE: "my-api list:data",
    RevocationKind.SIGNING_KEY: "kid-1",
    RevocationKind.EVERYTHING: "",
}


def make(kind: RevocationKind, target: str | None = None, cutoff: datetime = NOON) -> Revocation:
    return Revocation(
        kind=kind,
        target=TARGETS[kind] if target is None else target,
        cutoff=cutoff,
        created_at=NOON,
        expires_at=NOON + HOUR,
    )


def view(*revocations: Revocation) -> RevocationView:
    made = RevocationView()
    made.add(revocations)
    return made


@rule("DR-8", "R4")
@pytest.mark.parametrize("kind", list(RevocationKind))
def test_a_token_is_hit_by_what_names_it(kind):
    assert view(make(kind)).hit(TOKEN, "kid-1") is kind


@pytest.mark.parametrize("kind", [kind for kind in RevocationKind if kind is not RevocationKind.EVERYTHING])
@pytest.mark.parametrize(
    "target", ["", "two", "reader my-api2", "reader", "my-api", "my-api write:data", "my-api list"]
)
def test_a_token_is_not_hit_by_what_names_another(kind, target):
    if target != TARGETS[kind]:
        assert view(make(kind, target)).hit(TOKEN, "kid-1") is None
    assert view(make(kind, target), make(kind)).hit(TOKEN, "kid-1") is kind


@rule("R8")
@pytest.mark.parametrize("kind", list(RevocationKind))
def test_the_second_of_the_cut_off_is_dead_and_the_next_one_lives(kind):
    for late in (timedelta(0), timedelta(milliseconds=1), timedelta(milliseconds=999)):
        assert view(make(kind, cutoff=NOON + late)).hit(TOKEN, "kid-1") is kind
    assert view(make(kind, cutoff=NOON - timedelta(milliseconds=1))).hit(TOKEN, "kid-1") is None


@rule("KF-63")
def test_no_level_hides_another_and_the_latest_cut_off_holds():
    early, late = make(RevocationKind.AGENT, cutoff=NOON - HOUR), make(RevocationKind.EVERYTHING)
    for order in ((early, late), (late, early)):
        assert view(*order).hit(TOKEN, "kid-1") is RevocationKind.EVERYTHING
        assert view(*order).cutoff(TOKEN, "kid-1") == NOON
    again = replace(early, cutoff=NOON + HOUR)
    assert view(again, early).hit(TOKEN, "kid-1") is RevocationKind.AGENT
    assert view(again, early).cutoff(TOKEN, "kid-1") == NOON + HOUR


def test_a_token_for_several_resources_dies_with_each_of_them():
    token = {**TOKEN, "aud": ["other", "my-api"]}
    for kind in (RevocationKind.RESOURCE, RevocationKind.PERMISSION, RevocationKind.SCOPE):
        assert view(make(kind)).hit(token, "kid-1") is kind


@pytest.mark.parametrize("missing", ["iat", "aud", "scope", "jti", "client_id", "credential_id"])
def test_a_claim_that_is_missing_is_nobody_s(missing):
    token = {name: value for name, value in TOKEN.items() if name != missing}
    assert view(make(RevocationKind.EVERYTHING)).hit(token, "kid-1") is RevocationKind.EVERYTHING
    assert view(make(RevocationKind.AGENT, "other")).hit(token, "kid-1") is None


def test_what_is_over_is_forgotten_and_nothing_earlier():
    made = view(make(RevocationKind.AGENT), replace(make(RevocationKind.TOKEN), expires_at=NOON + 2 * HOUR))
    assert made.prune(NOON + HOUR - timedelta(microseconds=1)) == 0
    assert (made.prune(NOON + HOUR), len(made)) == (1, 1)
    assert made.hit(TOKEN, "kid-1") is RevocationKind.TOKEN
    assert (made.prune(NOON + 2 * HOUR), len(made)) == (1, 0)
    assert made.hit(TOKEN, "kid-1") is None
    assert made.cutoff(TOKEN, "kid-1") is None


def test_the_version_tells_that_something_came():
    made = view()
    before = made.version
    made.add([make(RevocationKind.AGENT)])
    assert made.version > before


@given(
    st.lists(
        st.builds(
            make,
            st.sampled_from(list(RevocationKind)),
            st.sampled_from([*TARGETS.values(), "other"]),
            st.integers(-3600, 3600).map(lambda seconds: NOON + timedelta(seconds=seconds)),
        ),
        max_size=12,
    )
)
def test_whatever_the_order_the_token_is_hit_exactly_if_one_of_them_hits_it(revocations):
    alone = [view(one).hit(TOKEN, "kid-1") is not None for one in revocations]
    assert (view(*revocations).hit(TOKEN, "kid-1") is not None) is any(alone)
    assert (view(*reversed(revocations)).hit(TOKEN, "kid-1") is not None) is any(alone)
