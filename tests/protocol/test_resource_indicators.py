"""Resource indicators: RFC 8707, and what decides when none is sent."""

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import rule
from watchword.errors import InvalidTarget
from watchword.protocol.resource_indicators import check_identifier, choose_resource, parse_target

API = "https://api.example.com/v1"
OWNED = {"my-api": frozenset({"read", "write"}), "other": frozenset({"read", "admin"}), API: frozenset({"list"})}


def reason_of_target(resources: tuple[str, ...], audiences: tuple[str, ...] = ()) -> str:
    with pytest.raises(InvalidTarget) as caught:
        parse_target(resources, audiences)
    return caught.value.reason


def reason_of_choice(named, scopes=(), owned=OWNED, default=None) -> str:
    with pytest.raises(InvalidTarget) as caught:
        choose_resource(named, scopes, owned, default)
    return caught.value.reason


@rule("R8707-2-01", "R8707-2-02")
@pytest.mark.parametrize(
    "resource",
    [
        "https://cal.example.com/",
        "https://contacts.example.com/",
        "https://api.example.com/app/",
        "https://rs.example.com/?tenant=a",
        "http://localhost:9000",
        "urn:example:api",
        "spiffe://example.org/ns/a",
    ],
)
def test_an_absolute_uri_is_taken_as_it_is(resource):
    assert parse_target((resource,), ()) == resource


def test_nothing_named_is_nothing():
    assert parse_target((), ()) is None


@rule("R8707-2-06")
@pytest.mark.parametrize("audience", ["my-api", "a", "API.v1_2~x", API, "urn:example:api"])
def test_an_audience_is_a_plain_name_or_a_uri(audience):
    assert parse_target((), (audience,)) == audience


@rule("R8707-2-01", "S5")
@pytest.mark.parametrize(
    "resource",
    [
        "my-api",
        "/relative",
        "../up",
        "//host/path",
        "?query",
        ":",
        "https:",
        "https://",
        "1https://a",
        "https://a b",
        "https://a/\n",
        "https://user@a",
        "https://A.example.com",
        'https://a/"',
        "https://a/\\",
        "https://é.example",
        "https://a/%zz",
        "x:" + "a" * 600,
    ],
)
def test_a_resource_that_is_no_absolute_uri_is_refused(resource):
    assert reason_of_target((resource,)) == "target.syntax"


@rule("R8707-2-01", "S5")
@pytest.mark.parametrize("resource", ["https://a#", "https://a/b#c", "urn:a#b", "#a"])
def test_a_fragment_is_refused(resource):
    assert reason_of_target((resource,)) == "target.fragment"
    assert reason_of_target((), (resource,)) == "target.fragment"


@rule("S5")
@pytest.mark.parametrize("resource", ["http://api.example.com", "HTTP://api.example.com", "http://10.0.0.1/x"])
def test_plain_http_to_another_machine_is_refused(resource):
    assert reason_of_target((resource,)) in {"target.insecure", "target.syntax"}


@rule("R8707-2-06")
@pytest.mark.parametrize("audience", ["-a", "a b", "a/b", "é", "a\n", "a" * 600, '"'])
def test_an_audience_that_could_not_be_an_identifier_is_refused(audience):
    assert reason_of_target((), (audience,)) == "target.syntax"


@rule("R8707-2-04", "S5")
@pytest.mark.parametrize(
    ("resources", "audiences"),
    [((API, "urn:b"), ()), ((API, API), ()), ((), ("a", "b")), (tuple(f"urn:{n}" for n in range(20)), ())],
)
def test_several_resources_are_refused(resources, audiences):
    assert reason_of_target(resources, audiences) == "target.several"


@rule("R8707-2-06")
def test_resource_and_audience_must_agree():
    assert parse_target((API,), (API,)) == API
    assert reason_of_target((API,), ("my-api",)) == "target.disagree"
    assert reason_of_target((API,), (API + "/",)) == "target.disagree"


@rule("R8707-2-01", "S5", "S6", "KF-78")
@pytest.mark.parametrize("named", ["unknown", "my-ap", "my-api2", "MY-API", API + "/", API[:-1], "my-api ", "*"])
def test_only_the_exact_identifier_of_an_own_resource_is_chosen(named):
    assert reason_of_choice(named, default="my-api") == "target.unknown"


@rule("R8707-2-02")
def test_a_named_resource_is_chosen_whatever_the_scopes_say():
    assert choose_resource(API, ("admin",), OWNED, "my-api") == API


@rule("R8707-2-03")
@pytest.mark.parametrize(
    ("scopes", "default", "chosen"),
    [
        (("admin",), None, "other"),
        (("admin",), "my-api", "other"),
        (("read", "write"), None, "my-api"),
        (("list",), "my-api", API),
        (("read",), "other", "other"),
        ((), "other", "other"),
        (("nowhere",), "my-api", "my-api"),
    ],
)
def test_without_a_name_the_only_owner_of_the_scopes_then_the_default(scopes, default, chosen):
    assert choose_resource(None, scopes, OWNED, default) == chosen


@rule("R8707-2-03")
def test_the_only_resource_there_is_needs_no_name():
    assert choose_resource(None, (), {"my-api": frozenset({"read"})}, None) == "my-api"


@rule("R8707-2-03")
@pytest.mark.parametrize(
    ("scopes", "owned", "default"),
    [
        (("read",), OWNED, None),
        ((), OWNED, None),
        ((), {}, None),
        (("read",), OWNED, "gone"),
        (("read",), {}, "my-api"),
    ],
)
def test_where_nothing_decides_the_request_is_refused(scopes, owned, default):
    assert reason_of_choice(None, scopes, owned, default) == "target.ambiguous"


@rule("R8707-2-03")
def test_the_refusal_says_what_to_send():
    with pytest.raises(InvalidTarget) as caught:
        choose_resource(None, ("read",), OWNED, None)
    assert caught.value.facts == {"resources": "my-api, other"}
    many = {f"api-{number}": frozenset({"read"}) for number in range(9)}
    with pytest.raises(InvalidTarget) as caught:
        choose_resource(None, ("read",), many, None)
    assert caught.value.facts == {"resources": "api-0, api-1, api-2, api-3, api-4 and 4 more"}


@given(st.text(max_size=40))
@settings(max_examples=200)
def test_whatever_is_named_is_returned_unchanged_or_refused(text):
    with contextlib.suppress(InvalidTarget):
        assert check_identifier(text) == text
