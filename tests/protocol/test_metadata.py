"""Metadata documents: RFC 8414 and RFC 9728, published and believed."""

import contextlib
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import rule
from watchword.protocol.metadata import (
    InvalidMetadata,
    build_resource_metadata,
    build_server_metadata,
    check_issuer,
    parse_resource_metadata,
    parse_server_metadata,
    well_known_url,
)

ISSUER = "https://auth.example.com/main"
DOCUMENT = {
    "issuer": ISSUER,
    "token_endpoint": ISSUER + "/oauth/token",
    "jwks_uri": ISSUER + "/.well-known/jwks.json",
    "response_types_supported": ["none"],
    "grant_types_supported": ["client_credentials"],
    "token_endpoint_auth_methods_supported": ["private_key_jwt", "client_secret_basic"],
    "token_endpoint_auth_signing_alg_values_supported": ["ES256"],
    "mtls_endpoint_aliases": {"token_endpoint": "https://mtls.example.com/oauth/token"},
    "watchword_something": "new",
    "never_heard_of": {"a": [None]},
}
RESOURCE = "https://api.example.com/v1"
RESOURCE_DOCUMENT = {
    "resource": RESOURCE,
    "authorization_servers": [ISSUER],
    "bearer_methods_supported": ["header"],
    "scopes_supported": ["read"],
}


def reason_of_server(changes, issuer: str = ISSUER) -> str:
    with pytest.raises(InvalidMetadata) as caught:
        parse_server_metadata({**DOCUMENT, **changes}, issuer=issuer)
    return caught.value.reason


def reason_of_resource(changes) -> str:
    with pytest.raises(InvalidMetadata) as caught:
        parse_resource_metadata({**RESOURCE_DOCUMENT, **changes}, resource=RESOURCE)
    return caught.value.reason


def reason_of_build(**facts) -> str:
    with pytest.raises(InvalidMetadata) as caught:
        build_server_metadata(**{"issuer": ISSUER, "token_endpoint": ISSUER + "/oauth/token", **facts})
    return caught.value.reason


# Where the documents stand


@rule("R8414-3-01")
def test_the_examples_of_rfc_8414():
    assert well_known_url("https://example.com", "oauth-authorization-server") == (
        "https://example.com/.well-known/oauth-authorization-server"
    )
    assert well_known_url("https://example.com/issuer1", "oauth-authorization-server") == (
        "https://example.com/.well-known/oauth-authorization-server/issuer1"
    )


@rule("R9728-3-01")
@pytest.mark.parametrize(
    ("resource", "url"),
    [
        ("https://resource.example.com", "https://resource.example.com/.well-known/oauth-protected-resource"),
        ("https://resource.example.com/", "https://resource.example.com/.well-known/oauth-protected-resource"),
        (
            "https://resource.example.com/resource1",
            "https://resource.example.com/.well-known/oauth-protected-resource/resource1",
        ),
        ("https://a.example:8443/x?t=1", "https://a.example:8443/.well-known/oauth-protected-resource/x?t=1"),
        ("http://[::1]:9000/x", "http://[::1]:9000/.well-known/oauth-protected-resource/x"),
    ],
)
def test_the_well_known_part_is_inserted_between_host_and_path(resource, url):
    assert well_known_url(resource, "oauth-protected-resource") == url
    assert well_known_url(resource, "/.well-known/oauth-protected-resource") == url


def test_no_document_stands_below_what_is_no_url():
    with pytest.raises(InvalidMetadata):
        well_known_url("my-api", "oauth-protected-resource")


# The issuer


@rule("R8414-2-01", "TRAP-01b")
@pytest.mark.parametrize(
    ("issuer", "reason"),
    [
        ("http://auth.example.com", "issuer.insecure"),
        ("http://localhost.evil.com", "issuer.insecure"),
        ("https://auth.example.com/", "issuer.syntax"),
        ("https://auth.example.com/main/", "issuer.syntax"),
        ("https://auth.example.com?x=1", "issuer.syntax"),
        ("https://auth.example.com?", "issuer.syntax"),
        ("https://auth.example.com#x", "issuer.syntax"),
        ("https://AUTH.example.com", "issuer.syntax"),
        ("https://auth.example.com:443", "issuer.syntax"),
        ("https://user@auth.example.com", "issuer.syntax"),
        ("https://auth.example.com/a/../b", "issuer.syntax"),
        ("https://", "issuer.syntax"),
        ("auth.example.com", "issuer.syntax"),
        ("", "issuer.syntax"),
    ],
)
def test_an_issuer_that_libraries_would_respell_is_refused(issuer, reason):
    with pytest.raises(InvalidMetadata) as caught:
        check_issuer(issuer, allow_loopback_http=True)
    assert caught.value.reason == reason


@rule("R8414-2-01")
@pytest.mark.parametrize(
    "issuer", [ISSUER, "https://auth.example.com", "https://10.0.0.1:8443/a", "https://[2001:db8::1]"]
)
def test_an_https_issuer_is_accepted_as_it_is(issuer):
    assert check_issuer(issuer, allow_loopback_http=False) == issuer


@pytest.mark.parametrize("issuer", ["http://127.0.0.1:8020", "http://localhost:8020/main", "http://[::1]:8020"])
def test_plain_http_is_for_loopback_and_only_where_allowed(issuer):
    assert check_issuer(issuer, allow_loopback_http=True) == issuer
    with pytest.raises(InvalidMetadata) as caught:
        check_issuer(issuer, allow_loopback_http=False)
    assert caught.value.reason == "issuer.insecure"


# Building


@rule("R8414-2-01", "R8414-3-01", "MCPCC-01")
def test_a_document_holds_what_is_on_and_nothing_empty():
    document = build_server_metadata(
        token_endpoint=ISSUER + "/oauth/token",
        issuer=ISSUER,
        jwks_uri=ISSUER + "/.well-known/jwks.json",
        authorization_endpoint=None,
        grant_types_supported=("client_credentials",),
        token_endpoint_auth_methods_supported=("client_secret_basic",),
        scopes_supported=(),
        introspection_endpoint="",
        mtls_endpoint_aliases={},
        tls_client_certificate_bound_access_tokens=False,
        watchword_challenge_endpoint=ISSUER + "/oauth/challenge",
    )
    assert json.dumps(document) == json.dumps(
        {
            "issuer": ISSUER,
            "token_endpoint": ISSUER + "/oauth/token",
            "jwks_uri": ISSUER + "/.well-known/jwks.json",
            "response_types_supported": ["none"],
            "grant_types_supported": ["client_credentials"],
            "token_endpoint_auth_methods_supported": ["client_secret_basic"],
            "watchword_challenge_endpoint": ISSUER + "/oauth/challenge",
        }
    )


@rule("R8414-2-01")
def test_what_is_built_is_believed():
    document = build_server_metadata(issuer=ISSUER, token_endpoint=ISSUER + "/oauth/token")
    assert (
        parse_server_metadata(json.loads(json.dumps(document)), issuer=ISSUER).token_endpoint == ISSUER + "/oauth/token"
    )


@rule("R8414-2-02", "MCPCC-01")
def test_a_jwt_method_is_published_with_its_algorithms_and_never_with_none():
    methods = ("private_key_jwt",)
    assert reason_of_build(token_endpoint_auth_methods_supported=methods) == "metadata.algorithms"
    for algorithms in (("none",), ("ES256", "none")):
        facts = {"token_endpoint_auth_signing_alg_values_supported": algorithms}
        assert reason_of_build(token_endpoint_auth_methods_supported=methods, **facts) == "metadata.algorithms"
    document = build_server_metadata(
        issuer=ISSUER,
        token_endpoint=ISSUER + "/t",
        token_endpoint_auth_methods_supported=methods,
        token_endpoint_auth_signing_alg_values_supported=("ES256",),
    )
    assert document["token_endpoint_auth_signing_alg_values_supported"] == ["ES256"]


@rule("R8414-2-01")
@pytest.mark.parametrize(
    "facts",
    [
        {"token_endpoint": "http://auth.example.com/oauth/token"},
        {"token_endpoint": "/oauth/token"},
        {"jwks_uri": "http://localhost/jwks"},
        {"introspection_endpoint": ISSUER + "#x"},
        {"mtls_endpoint_aliases": {"token_endpoint": "http://mtls.example.com"}},
        {"watchword_challenge_endpoint": "http://auth.example.com"},
    ],
)
def test_every_published_url_is_as_safe_as_the_issuer(facts):
    assert reason_of_build(**facts) == "metadata.endpoint"


@pytest.mark.parametrize(
    "facts", [{"issuer": ""}, {"token_endpoint": None}, {"tokenendpoint": "x"}, {"admin_api": "x"}]
)
def test_only_registered_members_and_our_own_prefix_are_published(facts):
    assert reason_of_build(**facts) == "metadata.member"


def test_a_loopback_server_may_publish_plain_http():
    issuer = "http://127.0.0.1:8020"
    document = build_server_metadata(issuer=issuer, token_endpoint=issuer + "/oauth/token")
    assert parse_server_metadata(document, issuer=issuer).token_endpoint == issuer + "/oauth/token"


# Believing a server


@rule("R8414-3.3-01", "TRAP-01b", "Q1", "KF-21")
@pytest.mark.parametrize(
    "issuer",
    [
        ISSUER + "/",
        ISSUER[:-1],
        ISSUER.upper(),
        "https://AUTH.example.com/main",
        "https://auth.example.com:443/main",
        "http://auth.example.com/main",
        "https://auth.example.com",
        "https://evil.example.com/main",
        [ISSUER],
        None,
        1,
        "",
    ],
)
def test_a_document_of_another_issuer_is_not_used(issuer):
    assert reason_of_server({"issuer": issuer}) == "metadata.issuer"


@rule("R8414-3.3-01", "R8414-2-01")
def test_the_document_of_the_issuer_that_was_asked_is_used():
    metadata = parse_server_metadata(DOCUMENT, issuer=ISSUER)
    assert (metadata.issuer, metadata.token_endpoint, metadata.jwks_uri, metadata.revocation_endpoint) == (
        ISSUER,
        ISSUER + "/oauth/token",
        ISSUER + "/.well-known/jwks.json",
        None,
    )
    assert metadata.token_endpoint_auth_methods_supported == ("private_key_jwt", "client_secret_basic")
    assert metadata.mtls_endpoint_aliases == {"token_endpoint": "https://mtls.example.com/oauth/token"}


@rule("R8414-2-01")
def test_absent_lists_have_the_defaults_of_the_specification():
    metadata = parse_server_metadata({"issuer": ISSUER, "token_endpoint": ISSUER + "/t"}, issuer=ISSUER)
    assert metadata.token_endpoint_auth_methods_supported == ("client_secret_basic",)
    assert metadata.grant_types_supported == ("authorization_code", "implicit")


@rule("R8414-2-01", "Q1", "R9700upd-01")
@pytest.mark.parametrize(
    "name", ["token_endpoint", "jwks_uri", "introspection_endpoint", "revocation_endpoint", "x_endpoint"]
)
@pytest.mark.parametrize(
    "url",
    [
        "http://auth.example.com/x",
        "http://localhost:8020/x",
        "ftp://auth.example.com",
        "file:///etc/passwd",
        "//auth.example.com/x",
        "/oauth/token",
        "https://auth.example.com/x#y",
        "https://a@auth.example.com",
        "",
    ],
)
def test_an_endpoint_less_safe_than_its_issuer_is_refused(name, url):
    assert reason_of_server({name: url}) == "metadata.endpoint"


@rule("Q1")
@pytest.mark.parametrize(
    "changes",
    [
        {"token_endpoint": None},
        {"token_endpoint": 1},
        {"token_endpoint": [ISSUER]},
        {"grant_types_supported": "client_credentials"},
        {"grant_types_supported": [1]},
        {"token_endpoint_auth_methods_supported": {"a": 1}},
        {"mtls_endpoint_aliases": [ISSUER]},
        {"mtls_endpoint_aliases": {"token_endpoint": None}},
    ],
)
def test_a_member_of_the_wrong_type_is_refused(changes):
    assert reason_of_server(changes) == "metadata.form"


@rule("Q1")
@pytest.mark.parametrize("document", [None, [], "x", 1, True, [DOCUMENT], {}])
def test_what_is_no_document_is_refused(document):
    with pytest.raises(InvalidMetadata) as caught:
        parse_server_metadata(document, issuer=ISSUER)
    assert caught.value.reason in {"metadata.form", "metadata.issuer"}


def test_a_server_without_token_endpoint_is_of_no_use():
    with pytest.raises(InvalidMetadata) as caught:
        parse_server_metadata({"issuer": ISSUER}, issuer=ISSUER)
    assert caught.value.reason == "metadata.form"


# Resources


@rule("R9728-3-01")
def test_a_resource_names_itself_and_its_servers():
    document = build_resource_metadata(resource=RESOURCE, authorization_servers=(ISSUER,), scopes_supported=("read",))
    assert document == RESOURCE_DOCUMENT
    metadata = parse_resource_metadata(document, resource=RESOURCE)
    assert (metadata.resource, metadata.authorization_servers, metadata.scopes_supported) == (
        RESOURCE,
        (ISSUER,),
        ("read",),
    )


@rule("R9728-3-01")
def test_a_resource_without_server_or_with_a_plain_name_has_no_document():
    for resource, servers in ((RESOURCE, ()), (RESOURCE, ("http://evil.com",)), ("my-api", (ISSUER,))):
        with pytest.raises(InvalidMetadata):
            build_resource_metadata(resource=resource, authorization_servers=servers)
    with pytest.raises(InvalidMetadata):
        build_resource_metadata(resource=RESOURCE, authorization_servers=(ISSUER,), not_a_member=1)


@rule("R9728-3.3-01")
@pytest.mark.parametrize(
    "resource", [RESOURCE + "/", RESOURCE[:-1], "https://API.example.com/v1", "my-api", None, [RESOURCE]]
)
def test_a_document_of_another_resource_is_not_used(resource):
    assert reason_of_resource({"resource": resource}) == "metadata.resource"


@rule("R9728-3-01")
@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"authorization_servers": ["http://auth.example.com"]}, "metadata.endpoint"),
        ({"authorization_servers": ["http://localhost:8020"]}, "metadata.endpoint"),
        ({"authorization_servers": [None]}, "metadata.form"),
        ({"authorization_servers": ISSUER}, "metadata.form"),
        ({"dpop_bound_access_tokens_required": "true"}, "metadata.form"),
        ({"scopes_supported": "read"}, "metadata.form"),
    ],
)
def test_a_resource_document_with_unusable_members_is_refused(changes, reason):
    assert reason_of_resource(changes) == reason


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)


@rule("Q1")
@given(st.dictionaries(st.sampled_from(sorted(DOCUMENT)), JSON, max_size=3), JSON)
@settings(max_examples=200)
def test_whatever_a_server_sends_only_our_refusals_come_out(changes, document):
    with contextlib.suppress(InvalidMetadata):
        parse_server_metadata({**DOCUMENT, **changes}, issuer=ISSUER)
    with contextlib.suppress(InvalidMetadata):
        parse_server_metadata(document, issuer=ISSUER)
    with contextlib.suppress(InvalidMetadata):
        parse_resource_metadata(document, resource=RESOURCE)


def test_the_right_documents_still_work():
    assert parse_server_metadata(DOCUMENT, issuer=ISSUER).issuer == ISSUER
    assert parse_resource_metadata(RESOURCE_DOCUMENT, resource=RESOURCE).resource == RESOURCE
