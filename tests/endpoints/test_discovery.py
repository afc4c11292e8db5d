"""Metadata, keys and the endpoint that is only there to be named: RFC 8414, RFC 7517, ABUSE 6.9."""

import json
from datetime import timedelta

import pytest
from tests import rule

from watchword.resource.jwks_cache import GRACE
from watchword.testing.server import InProcessServer

METADATA = "/.well-known/oauth-authorization-server"


@rule("R8414-3-01", "R8414-2-01", "R8414-3-02", "MCPCC-01")
def test_the_metadata_says_what_is_really_there() -> None:
    answer = InProcessServer().ask("GET", METADATA)
    assert answer.status == 200
    assert answer.header("content-type") == "application/json"
    assert answer.header("access-control-allow-origin") == "*"
    assert answer.json == {
        "issuer": "https://auth.example.com",
        "authorization_endpoint": "https://auth.example.com/oauth/authorize",
        "token_endpoint": "https://auth.example.com/oauth/token",
        "jwks_uri": "https://auth.example.com/.well-known/jwks.json",
        "response_types_supported": ["none"],
        "grant_types_supported": ["client_credentials"],
        "dpop_signing_alg_values_supported": ["ES256", "ES384", "Ed25519", "PS256"],
        "token_endpoint_auth_methods_supported": [
            "private_key_jwt",
            "watchword_challenge",
            "client_secret_basic",
            "client_secret_post",
        ],
        "introspection_endpoint": "https://auth.example.com/oauth/introspect",
        "introspection_endpoint_auth_methods_supported": [
            "private_key_jwt",
            "watchword_challenge",
            "client_secret_basic",
            "client_secret_post",
        ],
        "introspection_endpoint_auth_signing_alg_values_supported": ["ES256", "ES384", "Ed25519", "PS256", "RS256"],
        "revocation_endpoint": "https://auth.example.com/oauth/revoke",
        "revocation_endpoint_auth_methods_supported": [
            "private_key_jwt",
            "watchword_challenge",
            "client_secret_basic",
            "client_secret_post",
        ],
        "revocation_endpoint_auth_signing_alg_values_supported": ["ES256", "ES384", "Ed25519", "PS256", "RS256"],
        "introspection_signing_alg_values_supported": ["ES256"],
        "watchword_challenge_endpoint": "https://auth.example.com/oauth/challenge",
        "watchword_events_endpoint": "https://auth.example.com/oauth/events",
        "token_endpoint_auth_signing_alg_values_supported": ["ES256", "ES384", "Ed25519", "PS256", "RS256"],
    }


@rule("R8414-3-02")
def test_the_metadata_may_be_kept_and_tells_nothing_of_any_client(server: InProcessServer) -> None:
    before = server.ask("GET", METADATA)
    assert before.header("cache-control") == "public, max-age=300"
    server.add_resource("another-api", scopes=("secret:scope",))
    server.add_agent("somebody")
    etag = str(before.header("etag"))
    after = server.ask("GET", METADATA, headers=[("if-none-match", f'"other", W/{etag}')])
    assert (after.status, after.body, after.header("etag")) == (304, b"", etag)
    assert server.ask("GET", METADATA, headers=[("if-none-match", '"other"')]).body == before.body
    assert server.ask("HEAD", METADATA).header("content-length") == str(len(before.body))


@rule("R8414-3-01", "MCP-05")
@pytest.mark.parametrize(
    "issuer", ["https://auth.example.com", "https://auth.example.com/main", "https://auth.example.com/a/b"]
)
def test_one_document_stands_at_every_well_known_place(issuer: str) -> None:
    server = InProcessServer(issuer=issuer)
    path = issuer.removeprefix("https://auth.example.com")
    for name in ("oauth-authorization-server", "openid-configuration"):
        inserted = server.ask("GET", f"/.well-known/{name}{path}")
        appended = server.ask("GET", f"{path}/.well-known/{name}")
        assert inserted.body == appended.body
        assert inserted.json["issuer"] == issuer


def test_an_issuer_with_a_path_serves_below_it() -> None:
    server = InProcessServer(issuer="https://auth.example.com/main", with_admin=True)
    server.add_resource()
    assert server.token(server.add_agent()).status == 200
    assert server.ask("GET", "/main/.well-known/jwks.json").status == 200
    assert server.ask("GET", "/.well-known/jwks.json").status == 404
    assert server.ask("GET", "/main/admin/v1/agents").status == 401


@rule("R7517-4-01", "K4", "K5", "TRAP-15", "R8414-3-02")
def test_the_key_set_is_public_cacheable_and_unchanged_when_asked_again(server: InProcessServer) -> None:
    answer = server.ask("GET", "/.well-known/jwks.json")
    assert answer.header("cache-control") == "public, max-age=300"
    assert answer.header("x-request-id") is None  # it is given to many
    etag = answer.header("etag")
    assert etag is not None
    again = server.ask("GET", "/.well-known/jwks.json", headers=[("if-none-match", etag)])
    assert (again.status, again.body, again.header("etag")) == (304, b"", etag)
    head = server.ask("HEAD", "/.well-known/jwks.json")
    assert (head.status, head.body) == (200, b"")
    assert head.header("content-length") == str(len(answer.body))


@rule("K5", "TRAP-10", "TRAP-22", "R8414-3-02")
def test_a_key_set_is_kept_for_less_time_than_a_key_is_published_before_it_signs(server: InProcessServer) -> None:
    said = str(server.ask("GET", "/.well-known/jwks.json").header("cache-control"))
    max_age = timedelta(seconds=int(said.rpartition("max-age=")[2]))
    assert max_age + GRACE < server.core.key_times.notice
    assert server.core.key_times.linger >= server.core.key_times.longest_lifetime + max_age + GRACE


@rule("K5")
def test_a_new_key_is_in_the_key_set_at_the_next_request(server: InProcessServer) -> None:
    before = server.ask("GET", "/.well-known/jwks.json")
    kid = server.add_signing_key("RS256")
    after = server.ask("GET", "/.well-known/jwks.json", headers=[("if-none-match", str(before.header("etag")))])
    assert after.status == 200
    assert kid in {key["kid"] for key in after.json["keys"]}


@pytest.mark.parametrize("path", [METADATA, "/.well-known/jwks.json"])
def test_documents_are_read_only(server: InProcessServer, path: str) -> None:
    answer = server.ask("POST", path)
    assert (answer.status, answer.header("allow")) == (405, "GET, HEAD")


@rule("R9700-2.6-01")
def test_the_authorization_endpoint_answers_an_error_and_never_redirects(server: InProcessServer) -> None:
    answer = server.ask("GET", "/oauth/authorize?response_type=code&redirect_uri=https://evil.example&client_id=x")
    assert (answer.status, answer.json["error"]) == (400, "unsupported_response_type")
    assert answer.header("location") is None


def test_no_answer_holds_a_null(server: InProcessServer) -> None:
    server.add_agent("reader")
    for path in (METADATA, "/.well-known/jwks.json", "/oauth/authorize", "/nowhere", "/oauth/token"):
        assert "null" not in json.dumps(server.ask("GET", path).json)


@rule("KF-101", "A14")
def test_probes_and_metrics_are_not_on_the_public_listener() -> None:
    server = InProcessServer(with_admin=True)
    for path in ("/livez", "/readyz", "/metrics", "/docs", "/redoc", "/openapi.json", "/admin/v1/docs"):
        assert server.ask("GET", path).status in (401, 404)
