"""401, 403, 400 and 503 of a protected resource: RFC 6750 §3, RFC 9728 §5.1."""

from __future__ import annotations

import json

import pytest

from tests import rule
from watchword.errors import (
    InsufficientScope,
    InvalidRequest,
    InvalidToken,
    MethodNotAllowed,
    StoreUnavailable,
    VerifierUnavailable,
)
from watchword.protocol.challenge import parse_challenges
from watchword.resource import build_refusal

METADATA = "https://api.example.com/.well-known/oauth-protected-resource"


def challenge_of(refusal) -> dict[str, str]:
    [value] = [value for name, value in refusal.headers if name == "www-authenticate"]
    [challenge] = parse_challenges(value)
    assert challenge.scheme == "bearer"
    return dict(challenge.parameters)


@rule("R6750-3-01", "R9728-5.1-01", "MCP-01")
@pytest.mark.parametrize("reason", ["token.missing", "token.scheme"])
def test_without_credentials_no_error_is_named(reason):
    refusal = build_refusal(InvalidToken(reason), realm="my-api", resource_metadata=METADATA, scopes=["read", "write"])
    assert refusal.status == 401
    assert challenge_of(refusal) == {"realm": "my-api", "scope": "read write", "resource_metadata": METADATA}
    assert list(json.loads(refusal.body)) == ["error_description"]


def test_what_is_not_known_is_left_out():
    assert challenge_of(build_refusal(InvalidToken("token.missing"), realm="my-api")) == {"realm": "my-api"}


@rule("R6750-3-03", "DR-16", "KF-7")
def test_every_token_that_is_not_accepted_gets_the_same_answer():
    reasons = ["token.expired", "token.audience", "jws.signature", "token.confirmation", "token.unknown_key", "jws.typ"]
    answers = {build_refusal(InvalidToken(reason, detail="secret"), realm="my-api") for reason in reasons}
    [answer] = answers
    parameters = challenge_of(answer)
    assert (answer.status, parameters["error"]) == (401, "invalid_token")
    assert parameters["error_description"] == json.loads(answer.body)["error_description"]


@rule("R6750-3-04", "MCP-03")
def test_a_missing_scope_is_named_with_all_others():
    error = InsufficientScope("caller.scope", scope=("read", "write"))
    refusal = build_refusal(error, realm="my-api", resource_metadata=METADATA, scopes=["ignored"])
    assert refusal.status == 403
    assert challenge_of(refusal) == {
        "realm": "my-api",
        "error": "insufficient_scope",
        "error_description": "This request needs a token with the scope read write.",
        "scope": "read write",
        "resource_metadata": METADATA,
    }


def test_a_client_that_is_not_admitted_is_not_told_to_get_scopes():
    refusal = build_refusal(InsufficientScope("caller.client", scope=()), realm="my-api")
    assert refusal.status == 403
    assert "scope" not in challenge_of(refusal)


@rule("R6750-3-02", "R6750-2-03")
@pytest.mark.parametrize("reason", ["authorization.several", "authorization.syntax", "guard.path"])
def test_a_malformed_request_is_a_400(reason):
    refusal = build_refusal(InvalidRequest(reason), realm="my-api", scopes=["read"])
    assert refusal.status == 400
    assert challenge_of(refusal)["error"] == "invalid_request"
    assert "scope" not in challenge_of(refusal)


def test_a_wrong_method_needs_no_token():
    refusal = build_refusal(MethodNotAllowed("request.method", allow="GET, HEAD"), realm="my-api")
    assert refusal.status == 405
    assert dict(refusal.headers)["allow"] == "GET, HEAD"
    assert "www-authenticate" not in dict(refusal.headers)


@rule("V6")
@pytest.mark.parametrize(
    "error",
    [VerifierUnavailable("http.connect", detail="secret"), StoreUnavailable("x"), ValueError("secret"), KeyError()],
)
def test_a_fault_of_ours_is_a_503_without_a_word_about_it(error):
    refusal = build_refusal(error, realm="my-api", scopes=["read"])
    assert refusal.status == 503
    assert dict(refusal.headers)["retry-after"] == "5"
    assert "www-authenticate" not in dict(refusal.headers)
    assert b"secret" not in refusal.body


@pytest.mark.parametrize("error", [InvalidToken("token.missing"), InvalidRequest("guard.path"), ValueError()])
def test_no_refusal_is_cached(error):
    headers = dict(build_refusal(error, realm="my-api").headers)
    assert (headers["cache-control"], headers["content-type"]) == ("no-store", "application/json")


@rule("R6750-3-05")
def test_a_realm_cannot_break_out_of_its_quotes():
    realm = 'my "api" \\ x", error="none'
    assert challenge_of(build_refusal(InvalidToken("token.missing"), realm=realm)) == {"realm": realm}
