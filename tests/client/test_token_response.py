from __future__ import annotations

import base64
import contextlib
import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import rule
from tests.client.world import answer, token_answer
from watchword.client.cache import LONGEST_LIFE, Freshness, Token
from watchword.client.credentials import ClientSecretBasic
from watchword.client.errors import NEVER, LoginError, LoginMisconfigured, LoginRefused, LoginUnavailable
from watchword.client.token_response import Moment, parse_token_response
from watchword.ports.http import HttpResponse

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
CLIENT = ClientSecretBasic("reader", "p4ssphrase")


def parse(response: HttpResponse, *, offset: timedelta = timedelta(0)) -> Token:
    moment = Moment(sent_at=NOW, offset=offset, jitter=0.5)
    return parse_token_response(response, asked=("a", "b"), client=CLIENT, moment=moment)


def refusal(response: HttpResponse) -> LoginError:
    with pytest.raises(LoginError) as refused:
        parse(response)
    assert "p4ssphrase" not in str(refused.value) + repr(refused.value)
    return refused.value


def at_jwt(typ: str = "at+jwt", **claims: object) -> str:
    parts = ({"alg": "ES256", "typ": typ, "kid": "k"}, claims)
    texts = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts]
    return ".".join((*texts, base64.urlsafe_b64encode(bytes(range(1, 65))).rstrip(b"=").decode()))


def test_the_answer_of_the_standard() -> None:
    # RFC 6749 §4.4.3
    body = b"""{
       "access_token":"2YotnFZFEjr1zCsicMWpAA",
       "token_type":"example",
       "expires_in":3600,
       "example_parameter":"example_value"
     }"""
    token = parse(HttpResponse(status=200, headers={}, body=body.replace(b'"example",', b'"bearer",')))
    assert (token.value, token.scopes) == ("2YotnFZFEjr1zCsicMWpAA", ("a", "b"))
    assert token.expires_at == NOW + timedelta(seconds=3595)


@rule("R6749-5.1-02", "Q2", "FAPI2-SDK-01")
@pytest.mark.parametrize("token_type", ["Bearer", "bearer", "BEARER", "bEaReR"])
def test_the_token_type_is_read_in_any_case(token_type: str) -> None:
    assert parse(token_answer(token_type=token_type)).value == "token-1"


@rule("R6749-5.1-02", "Q2")
@pytest.mark.parametrize("token_type", ["DPoP", "dPoP", "mac", "N_A", "", "Bearer ", None, 1, ["Bearer"]])
def test_a_token_of_another_type_is_not_used(token_type: object) -> None:
    error = refusal(token_answer(token_type=token_type))
    assert (type(error), error.reason, error.retry) == (LoginMisconfigured, "response.token_type", NEVER)


@rule("R6749-5.1-02", "Q2")
def test_members_that_are_not_known_are_ignored() -> None:
    response = token_answer(refresh_token="r", id_token={"deep": [1]}, issued_token_type="x", expires_on="5")
    assert parse(response).value == "token-1"


@rule("R6749-3.3-02")
def test_the_scopes_are_those_that_were_granted() -> None:
    assert parse(token_answer(scope="b")).scopes == ("b",)


@rule("R6749-5.1-03", "Q2")
@pytest.mark.parametrize(
    "expires_in",
    [None, -1, -(10**400), "soon", "-5", "6e2", "", True, [600], {"a": 1}, "٦٠٠", 0, "0"],
    ids=lambda value: repr(value)[:12],
)
def test_a_token_without_a_usable_lifetime_is_good_for_this_once(expires_in: object) -> None:
    token = parse(token_answer(expires_in=expires_in))
    assert token.value == "token-1"
    assert token.freshness(NOW) is Freshness.EXPIRED


@rule("R6749-5.1-03", "FAPI2-SDK-01")
def test_a_lifetime_that_is_missing_is_none() -> None:
    assert parse(answer(access_token="t", token_type="Bearer")).freshness(NOW) is Freshness.EXPIRED


@rule("Q2")
@pytest.mark.parametrize(("expires_in", "life"), [("600", 595), (600.0, 595), (1.5, 1.35)])
def test_a_lifetime_may_be_digits_or_a_fraction(expires_in: object, life: float) -> None:
    assert parse(token_answer(expires_in=expires_in)).expires_at == NOW + timedelta(seconds=life)


@rule("R6749-5.1-03", "Q2")
@pytest.mark.parametrize("expires_in", [86_401, 10**30, 10**400, 1e300, "9" * 4000], ids=lambda value: repr(value)[:12])
def test_a_huge_lifetime_is_a_day(expires_in: object) -> None:
    assert parse(token_answer(expires_in=expires_in)).expires_at == NOW + LONGEST_LIFE - timedelta(seconds=5)


@rule("R6749-5.1-03", "Q8")
def test_an_rfc_9068_token_tells_its_own_end_by_the_servers_clock() -> None:
    ends = (NOW + timedelta(minutes=15)).timestamp()
    response = answer(access_token=at_jwt(exp=ends), token_type="Bearer")
    assert parse(response, offset=timedelta(minutes=5)).expires_at == NOW + timedelta(minutes=10, seconds=-5)


@rule("R6749-5.1-03")
def test_the_last_moment_there_is_by_a_clock_that_is_behind_is_a_day() -> None:
    response = answer(access_token=at_jwt(exp=253402300799), token_type="Bearer")
    assert parse(response, offset=timedelta(days=-366)).expires_at == NOW + LONGEST_LIFE - timedelta(seconds=5)


@rule("R6749-5.1-03")
@pytest.mark.parametrize(
    "value",
    [
        at_jwt(),
        at_jwt(exp="soon"),
        at_jwt(exp=-1),
        at_jwt(exp=True),
        at_jwt(exp=0),
        at_jwt(exp=1e300),
        at_jwt("JWT", exp=9e9),
    ],
)
def test_a_token_that_tells_nothing_usable_is_good_for_this_once(value: str) -> None:
    response = answer(access_token=value, token_type="Bearer")
    assert parse(response).freshness(NOW) is Freshness.EXPIRED


@rule("Q2")
@pytest.mark.parametrize("value", [None, "", 5, ["t"], "two words", "line\r\nbreak", "t\x00", "tökén", "t" * 65_537])
def test_a_token_that_could_not_stand_in_a_header_is_not_used(value: object) -> None:
    assert refusal(token_answer(access_token=value)).reason == "response.access_token"


@rule("Q2")
@pytest.mark.parametrize(
    "body",
    [
        b"<!doctype html><title>Welcome</title>",
        b"",
        b"[]",
        b'"token"',
        b"null",
        b"\xff\xfe{}",
        b'{"access_token":"a","access_token":"b","token_type":"Bearer"}',
        b'{"expires_in":NaN}',
        b'{"expires_in":1e400}',
        b"[" * 100_000,
        b'{"a":' * 100_000,
    ],
    ids=lambda body: body[:12].decode("latin-1"),
)
def test_what_is_not_one_json_object_is_no_answer(body: bytes) -> None:
    error = refusal(HttpResponse(status=200, headers={"content-type": "text/html"}, body=body))
    assert (type(error), error.reason) == (LoginUnavailable, "response.form")


@rule("Q2")
def test_an_oversized_answer_is_not_read() -> None:
    body = b'{"access_token":"t","token_type":"Bearer","x":"' + b"x" * 1_048_576 + b'"}'
    assert refusal(HttpResponse(status=200, headers={}, body=body)).reason == "response.too_large"


def test_a_refusal_is_passed_on_with_the_servers_own_words() -> None:
    response = answer(
        400, {"x-request-id": "req_9"}, error="invalid_scope", error_description="read:data is not granted to reader"
    )
    error = refusal(response)
    assert isinstance(error, LoginRefused)
    assert (error.error, error.status, error.request_id, error.retry) == ("invalid_scope", 400, "req_9", NEVER)
    assert error.description == "read:data is not granted to reader"


@rule("Q6")
def test_a_secret_that_a_server_echoes_is_not_passed_on() -> None:
    leaky = answer(
        401,
        {"x-request-id": "p4ssphrase"},
        error="p4ssphrase",
        error_description="reader:p4ssphrase\r\n\x1b[31m eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4In0.c2ln",
    )
    error = refusal(leaky)
    assert isinstance(error, LoginRefused)
    assert (error.error, error.request_id) == ("[redacted]", "[redacted]")
    assert error.description == "reader:[redacted][31m [redacted]"


@rule("Q6")
@pytest.mark.parametrize("member", ["error", "error_description"])
@pytest.mark.parametrize("before", [90, 95, 490, 495])
def test_no_part_of_a_secret_is_passed_on_where_the_words_are_cut(member: str, before: int) -> None:
    words = {"error": "invalid_client", "error_description": "no", member: "x" * before + "p4ssphrase"}
    error = refusal(answer(401, **words))
    assert "p4" not in str(error)
    assert len(str(error)) < 700


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (403, b"<html>blocked</html>", "response.status"),
        (400, b"{}", "response.status"),
        (400, b'{"error":5}', "response.status"),
        (400, b'{"error":"two words"}', "response.status"),
        (404, b"not found", "response.missing"),
        (405, b"", "response.missing"),
        (201, b'{"access_token":"t","token_type":"Bearer"}', "response.status"),
        (204, b"", "response.status"),
    ],
)
def test_a_status_without_an_oauth_error_is_not_a_refusal_of_the_client(status: int, body: bytes, reason: str) -> None:
    error = refusal(HttpResponse(status=status, headers={}, body=body))
    assert (type(error), error.reason) == (LoginUnavailable, reason)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)


@rule("Q2")
@given(
    st.sampled_from([200, 400, 401, 404, 418]),
    st.fixed_dictionaries(
        {},
        optional=dict.fromkeys(
            ("access_token", "token_type", "expires_in", "scope", "error", "error_description"), JSON
        ),
    ),
)
@settings(max_examples=200)
def test_whatever_comes_is_a_token_or_a_login_error(status: int, members: dict[str, object]) -> None:
    with contextlib.suppress(LoginError):
        parse(answer(status, None, **members))
