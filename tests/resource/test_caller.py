"""Who is calling."""

from __future__ import annotations

import dataclasses
from datetime import timedelta

import pytest

from tests import rule
from tests.resource.issuers import Issuer
from watchword.errors import InsufficientScope, InvalidToken
from watchword.protocol.confirmation import NO_CONFIRMATION
from watchword.resource import Caller, current_caller
from watchword.resource.caller import CURRENT_CALLER


@pytest.fixture
def issuer():
    return Issuer()


def caller_of(issuer, **claims) -> Caller:
    return issuer.verifier().verify_token_sync(issuer.token(**claims))


def test_a_caller_is_what_the_token_says(issuer):
    caller = caller_of(issuer, scopes=("read:data", "write:data"), tenant="blue")
    assert caller.client_id == caller.subject == "reader-1"
    assert caller.scopes == {"read:data", "write:data"}
    assert caller.expires_at == issuer.clock() + timedelta(seconds=600)
    assert caller.token_id == "jti-1"
    assert caller.actors == ()
    assert caller.confirmation == NO_CONFIRMATION
    assert caller.claims["tenant"] == "blue"


@rule("R9068-6-01")
def test_client_and_subject_are_two_things(issuer):
    caller = caller_of(issuer, sub="alice", client_id="reader-1")
    assert (caller.client_id, caller.subject) == ("reader-1", "alice")


def test_a_token_without_scope_has_none(issuer):
    caller = caller_of(issuer, scopes=())
    assert caller.scopes == frozenset()
    caller.require()


def test_actors_stand_with_the_present_one_first(issuer):
    chain = {"sub": "helper-2", "act": {"sub": "planner-1", "iss": "https://auth.example.com"}}
    assert caller_of(issuer, act=chain).actors == ("helper-2", "planner-1")


@pytest.mark.parametrize(
    "act", [None, "helper", [], {}, {"sub": ""}, {"sub": 1}, {"sub": "a", "act": {}}, {"sub": "a", "act": None}]
)
def test_a_chain_of_actors_that_cannot_be_read_is_refused(issuer, act):
    with pytest.raises(InvalidToken) as caught:
        caller_of(issuer, act=act)
    assert caught.value.reason == "token.actor"


@rule("MCP-03", "R6750-3-04")
def test_a_missing_scope_is_refused_and_all_that_are_needed_are_named(issuer):
    caller = caller_of(issuer)
    with pytest.raises(InsufficientScope) as caught:
        caller.require("read:data", "write:data")
    assert (caught.value.reason, caught.value.scope) == ("caller.scope", ("read:data", "write:data"))
    caller.require("read:data")


@rule("S3")
@pytest.mark.parametrize("needed", ["read", "read:data:all", "READ:DATA", "read:*", "*", "", " ", "read:dat"])
def test_scopes_are_compared_exactly(issuer, needed):
    with pytest.raises(InsufficientScope):
        caller_of(issuer).require(needed)


def test_a_caller_cannot_be_changed_by_those_who_share_it(issuer):
    caller = caller_of(issuer, nested={"list": [1, {"deep": True}]})
    with pytest.raises(dataclasses.FrozenInstanceError):
        caller.client_id = "other"
    with pytest.raises(TypeError):
        caller.claims["sub"] = "other"
    with pytest.raises(TypeError):
        caller.claims["nested"]["list"] = []
    assert caller.claims["nested"]["list"] == (1, {"deep": True})
    with pytest.raises(TypeError):
        caller.claims["nested"]["list"][1]["deep"] = False


def test_claims_do_not_stand_in_the_repr(issuer):
    assert "private" not in repr(caller_of(issuer, email="private@example.com"))


def test_outside_of_a_guarded_request_there_is_no_caller(issuer):
    with pytest.raises(InvalidToken) as caught:
        current_caller()
    assert caught.value.reason == "token.missing"
    caller = caller_of(issuer)
    mark = CURRENT_CALLER.set(caller)
    assert current_caller() is caller
    CURRENT_CALLER.reset(mark)
