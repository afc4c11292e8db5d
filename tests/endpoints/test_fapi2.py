"""The profile fapi2: FAPI 2.0 Security Profile, the part of the client credentials grant."""

from dataclasses import replace

import pytest
from tests import rule
from tests.endpoints.test_token_parsing import GRANT, assert_refused
from tests.vectors import key_for

from watchword.compose import build_app
from watchword.protocol import names
from watchword.protocol.dpop import build_proof
from watchword.protocol.jose import LEGACY_EDDSA, PrivateKey, generate_private_key
from watchword.server.limits import Limits
from watchword.server.security_profile import FAPI2
from watchword.sharing import build_limits
from watchword.testing.keyed_agents import KeyedAgent, add_keyed_agent
from watchword.testing.server import Answer, InProcessServer

PROOF_KEY = generate_private_key("ES256")


@pytest.fixture
def strict() -> InProcessServer:
    server = InProcessServer()
    server.add_resource()
    core = replace(server.core, profile=FAPI2)
    server.app = build_app(core, hosts=frozenset({server.host}), limits=build_limits(Limits(), lambda _: None))
    return server


@pytest.fixture
def writer(strict: InProcessServer) -> KeyedAgent:
    return add_keyed_agent(strict, key=key_for("ES256"))


@pytest.fixture(autouse=True)
def sane(strict: InProcessServer, writer: KeyedAgent):
    yield
    assert ask(strict, writer.assertion(strict)).status == 200


def ask(
    server: InProcessServer, assertion: str, *, key: PrivateKey | None = PROOF_KEY, proof_alg: str = "", **form: str
) -> Answer:
    url = f"{server.issuer}/oauth/token"
    headers = []
    if key is not None:
        jti = f"p-{len(server.events())}"
        proof = build_proof(key, method="POST", url=url, jti=jti, issued_at=server.clock())
        headers = [("dpop", proof)]
    said = {
        "grant_type": "client_credentials",
        "scope": "read:data",
        "client_assertion_type": names.ASSERTION_TYPE_JWT,
        "client_assertion": assertion,
        **form,
    }
    return server.post(said, *headers)


def refused(server: InProcessServer, answer: Answer, reason: str) -> None:
    assert_refused(server, answer, reason, 401, "invalid_client")


@rule("FAPI2-AS-01", "FAPI2-AS-07")
def test_a_secret_logs_nobody_in(strict: InProcessServer) -> None:
    agent = strict.add_agent()
    refused(strict, strict.post(f"{GRANT}&scope=read:data", agent.basic), "client.method_unknown")
    in_body = f"{GRANT}&scope=read:data&client_id={agent.client_id}&client_secret={agent.secret}"
    refused(strict, strict.post(in_body), "client.method_unknown")
    refused(strict, strict.post(f"{GRANT}&client_id={agent.client_id}"), "client.no_credentials")


@rule("FAPI2-AS-02", "FAPI2-AS-07")
def test_no_token_without_a_proof(strict: InProcessServer, writer: KeyedAgent) -> None:
    assert_refused(strict, ask(strict, writer.assertion(strict), key=None), "binding.required", 400, "invalid_request")
    answer = ask(strict, writer.assertion(strict))
    assert (answer.status, answer.json["token_type"]) == (200, "DPoP")


@rule("FAPI2-AS-03", "R10070-3-02", "J9")
def test_the_audience_is_the_issuer_as_a_string(strict: InProcessServer, writer: KeyedAgent) -> None:
    for audience in ([strict.issuer], f"{strict.issuer}/oauth/token", [strict.issuer, "x"], "x"):
        refused(strict, ask(strict, writer.assertion(strict, {"aud": audience})), "assertion.audience")


@rule("FAPI2-AS-03", "R10070-3-03")
def test_nothing_is_conceded(strict: InProcessServer) -> None:
    old = add_keyed_agent(strict, "old", concessions=names.CONCESSIONS)
    answer = ask(strict, old.assertion(strict, {"aud": f"{strict.issuer}/oauth/token"}))
    refused(strict, answer, "assertion.audience")


@rule("FAPI2-AS-03", "J3")
@pytest.mark.parametrize("algorithm", ["RS256", "ES384"])
def test_an_algorithm_that_is_not_of_the_profile_is_refused(strict: InProcessServer, algorithm: str) -> None:
    agent = add_keyed_agent(strict, "other", key=key_for(algorithm))
    refused(strict, ask(strict, agent.assertion(strict)), "jws.algorithm")


@rule("FAPI2-AS-04", "R9864-2-02")
@pytest.mark.parametrize(
    ("algorithm", "header"), [("PS256", "PS256"), ("Ed25519", "Ed25519"), ("Ed25519", LEGACY_EDDSA)]
)
def test_those_of_the_profile_work(strict: InProcessServer, algorithm: str, header: str) -> None:
    agent = add_keyed_agent(strict, "other", key=key_for(algorithm))
    assert ask(strict, agent.assertion(strict, alg=header)).status == 200
    assert "deprecated" not in strict.last_event()["details"]


@rule("FAPI2-AS-04")
def test_proofs_keep_to_the_algorithms_too(strict: InProcessServer, writer: KeyedAgent) -> None:
    answer = ask(strict, writer.assertion(strict), key=key_for("ES384"))
    assert (answer.status, answer.json["error"]) == (400, "invalid_dpop_proof")


@rule("FAPI2-AS-03", "J11")
@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"exp": -300, "iat": -360}, "assertion.expired"),
        ({"iat": 10, "nbf": 10}, None),
        ({"iat": 61, "exp": 120}, "assertion.not_yet_valid"),
        ({"nbf": 61, "exp": 120}, "assertion.not_yet_valid"),
        ({"exp": 120}, None),
        ({"exp": 121}, "assertion.lifetime"),
    ],
)
def test_assertions_are_short_and_clocks_may_differ_a_little(
    strict: InProcessServer, writer: KeyedAgent, changes: dict[str, int], reason: str | None
) -> None:
    now = int(strict.clock().timestamp())
    answer = ask(strict, writer.assertion(strict, {name: now + value for name, value in changes.items()}))
    if reason is None:
        assert answer.status == 200
    else:
        refused(strict, answer, reason)


@rule("FAPI2-AS-03", "J8")
def test_whose_it_is_is_said_and_not_contradicted(strict: InProcessServer, writer: KeyedAgent) -> None:
    refused(strict, ask(strict, writer.assertion(strict, {"sub": None})), "assertion.subject")
    other = add_keyed_agent(strict, "other")
    refused(strict, ask(strict, other.assertion(strict), client_id=writer.client_id), "assertion.client_id")


@rule("FAPI2-AS-05", "FAPI2-AS-08")
def test_the_metadata_names_what_the_profile_has(strict: InProcessServer) -> None:
    said = strict.ask("GET", "/.well-known/oauth-authorization-server").json
    assert said["token_endpoint_auth_methods_supported"] == ["private_key_jwt"]
    assert said["token_endpoint_auth_signing_alg_values_supported"] == ["ES256", "EdDSA", "PS256"]
    assert said["dpop_signing_alg_values_supported"] == ["ES256", "EdDSA", "PS256"]
    assert {"issuer", "token_endpoint", "grant_types_supported"} < said.keys()


@rule("FAPI2-AS-06")
def test_each_token_is_bound_to_the_key_of_its_own_client(strict: InProcessServer, writer: KeyedAgent) -> None:
    from watchword.cli.tokens import read_unverified

    other = add_keyed_agent(strict, "other")
    keys = [generate_private_key("ES256"), generate_private_key("ES256")]
    answers = [ask(strict, agent.assertion(strict), key=key) for agent, key in zip((writer, other), keys, strict=True)]
    assert [set(answer.json) for answer in answers] == [{"access_token", "token_type", "expires_in", "scope"}] * 2
    bound = [read_unverified(answer.json["access_token"])[1]["cnf"] for answer in answers]
    assert bound == [{"jkt": key.kid} for key in keys]
    assert {answer.header("cache-control") for answer in answers} == {"no-store"}
