"""What is counted is what is recorded, under labels that no caller can invent."""

from tests import rule
from tests.vectors import key_for
from watchword.adapters.metrics import Metrics
from watchword.protocol.dpop import build_proof
from watchword.protocol.names import CLIENT_CREDENTIALS, CLIENT_SECRET_BASIC, TOKEN_ENDPOINT_AUDIENCE
from watchword.testing.keyed_agents import add_keyed_agent, ask_with
from watchword.testing.server import InProcessServer


def observed(server: InProcessServer) -> str:
    metrics = Metrics("1.2.3", grants=[CLIENT_CREDENTIALS], methods=[CLIENT_SECRET_BASIC])
    for event in server.store.trail:
        metrics.observe(event, 0.001)
    return metrics.render()[0].decode()


def test_tokens_and_refusals_are_counted() -> None:
    server = InProcessServer()
    server.add_resource()
    reader = server.add_agent()
    server.token(reader)
    server.token(reader)
    server.token(reader, scope="write:data")
    text = observed(server)
    common = 'client_auth="client_secret_basic",'
    assert (
        f'watchword_token_requests_total{{{common}error="",grant="client_credentials",outcome="success"}} 2.0' in text
    )
    assert f'{common}error="scope.not_permitted",grant="client_credentials",outcome="denied"}} 1.0' in text
    assert 'watchword_tokens_issued_total{alg="ES256",binding="bearer",grant="client_credentials"} 2.0' in text
    url = f"{server.issuer}/oauth/token"
    proof = build_proof(key_for("ES256"), method="POST", url=url, jti="j", issued_at=server.clock())
    bound = server.post({"grant_type": "client_credentials", "scope": "read:data"}, reader.basic, ("dpop", proof))
    assert bound.status == 200
    assert 'watchword_tokens_issued_total{alg="ES256",binding="dpop",grant="client_credentials"} 1.0' in observed(
        server
    )
    assert "watchword_token_request_duration_seconds_count 3.0" in text
    assert 'watchword_build_info{version="1.2.3"} 1.0' in text


@rule("B9")
def test_what_a_caller_invents_is_counted_as_other() -> None:
    server = InProcessServer()
    reader = server.add_agent(permissions={})
    for number in range(50):
        server.post({"grant_type": f"invented-{number}"}, reader.basic)
    server.post({"grant_type": "client_credentials", "client_id": "x", "client_secret": "y"})
    text = observed(server)
    assert "invented" not in text
    assert 'grant="other"' in text
    assert 'watchword_client_auth_failures_total{method="other",reason="client.unknown"} 1.0' in text


def test_what_a_limit_refuses_is_counted_by_the_name_of_the_limit() -> None:
    metrics = Metrics("1", grants=[], methods=[])
    for limit in ("peer", "peer", "concurrent_requests"):
        metrics.count_limited(limit)
    text = metrics.render()[0].decode()
    assert 'watchword_rate_limited_total{limit="peer"} 2.0' in text
    assert 'watchword_rate_limited_total{limit="concurrent_requests"} 1.0' in text


def test_what_was_conceded_and_logins_that_failed_are_counted() -> None:
    server = InProcessServer()
    server.add_resource()
    old = add_keyed_agent(server, "old", concessions=(TOKEN_ENDPOINT_AUDIENCE,))
    assert ask_with(server, old.assertion(server, {"aud": f"{server.issuer}/oauth/token"})).status == 200
    ask_with(server, old.assertion(server, {"aud": "x"}))
    text = observed(server)
    assert 'watchword_deprecated_total{concession="token_endpoint_audience"} 1.0' in text
    assert 'watchword_client_auth_failures_total{method="other",reason="assertion.audience"} 1.0' in text
    assert 'watchword_tokens_issued_total{alg="ES256",binding="bearer",grant="client_credentials"} 1.0' in text
